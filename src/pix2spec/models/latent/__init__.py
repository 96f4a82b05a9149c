"""The default family: a flow over redshift and rest-frame coefficients, which a basis decodes."""
