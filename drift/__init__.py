"""Distances between distributions, when a distance counts, and detectors on streams."""
