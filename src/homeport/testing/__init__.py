"""Doubles that ship: virtual time, the simulated world, faults."""
