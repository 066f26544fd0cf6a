"""Composition: which parts run where, the data directory, start, stop and adopt."""
