"""Training of the redshift model from real redshift surveys; see `pix2spec.training.redshift.recipe`."""
