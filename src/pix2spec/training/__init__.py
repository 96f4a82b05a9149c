"""From a dataset and a preset to a trained model."""
