"""Files of the Multimodal Universe and their import."""
