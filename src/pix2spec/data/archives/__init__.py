"""Real surveys: where their files are, how they are fetched, and what a dataset is made of."""
