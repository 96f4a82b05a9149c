"""The method of Wu & Peek (2020): an autoencoder of spectra, and an image network that predicts its codes."""
