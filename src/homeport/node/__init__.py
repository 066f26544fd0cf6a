"""Pods to processes: the node agent and what it stands on."""
