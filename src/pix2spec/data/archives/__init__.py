"""Download data of real surveys and make datasets of them."""
