"""Spectra of any generator, read for evaluation."""
