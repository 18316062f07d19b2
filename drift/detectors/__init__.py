"""Detectors of change in a stream of numbers: river's, behind one interface with a plain state."""
