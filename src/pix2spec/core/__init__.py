"""Wavelengths, filters, lines, photometry and scalings: what the other packages share about light."""
