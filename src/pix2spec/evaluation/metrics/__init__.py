"""Scores of ensembles and of populations of spectra, one idea a module."""
