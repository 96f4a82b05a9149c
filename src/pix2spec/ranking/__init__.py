"""Rank the objects of a catalogue for follow-up observations (`pix2spec rank`)."""
