"""Which node a pod runs on: filters and scores as functions over a snapshot."""
