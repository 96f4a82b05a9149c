"""`pix2spec rank`: which objects of a catalogue deserve telescope time."""
