"""Measurements: each a command, a baseline in the same run, medians and ratios. `python -m bench [NAME…]`."""
