"""Readers of other people's files: spectra, cutouts and catalogues.

Whatever is wrong with a file, a reader raises `pix2spec.errors.InputError` and nothing else.
"""
