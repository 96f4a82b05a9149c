"""`pix2spec data sdss`: select galaxies, fetch their files, and write a dataset."""
