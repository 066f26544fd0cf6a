"""Generated facts, no code."""
