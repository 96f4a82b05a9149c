"""The default model: the spectrum of a galaxy, given its redshift and any measurements of its light."""
