"""Datasets of galaxies: their schema and storage, a simulated survey, and readers of real files."""
