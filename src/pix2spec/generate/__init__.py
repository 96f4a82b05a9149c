"""From a dataset and a trained model to a catalogue."""
