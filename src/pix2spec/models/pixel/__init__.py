"""The paper's family: diffusion over the pixels of spectra, and the contrastive network that ranks them."""
