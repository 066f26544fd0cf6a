"""ReplicaSets: a number of pods, any of which will do."""

from homeport.controllers.replicaset.controller import ReplicaSetController

__all__ = ["ReplicaSetController"]
