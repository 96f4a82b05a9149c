"""Training of the default model: spectra, given redshifts and measurements."""
