"""ReplicaSets: a number of pods, any of which will do."""

from homeport.controllers.replicaset.shell import ReplicaSetController

__all__ = ["ReplicaSetController"]
