"""Readers of spectra, image cutouts and catalogues from other sources.

Every fault of a file raises `pix2spec.errors.InputError` and no other exception.
"""
