"""Redshifts of galaxies given their photometry: q(z | measurements), learnt from spectroscopic surveys."""
