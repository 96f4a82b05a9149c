"""The shapes of galaxies in pictures: what they say of the spectrum beyond photometry."""
