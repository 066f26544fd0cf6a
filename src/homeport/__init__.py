"""Homeport runs stateful Kubernetes applications on one machine the way a cluster would."""

__version__ = "0.1.0"
