"""Pairs of photometry and spectrum: schema, storage, simulated survey, readers of real files."""
