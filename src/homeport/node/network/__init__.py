"""The pod network of one node."""
