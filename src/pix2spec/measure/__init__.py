"""Redshifts, lines, indices and dispersions of spectra, observed or generated."""
