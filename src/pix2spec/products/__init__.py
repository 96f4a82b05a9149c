"""Results: ensembles and catalogues, their file formats and figures."""
