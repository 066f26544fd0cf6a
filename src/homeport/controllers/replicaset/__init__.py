"""ReplicaSets, and ReplicationControllers before them: a number of pods, any of which will do."""

from homeport.controllers.replicaset.controller import REPLICATION_CONTROLLERS, ReplicaSetController

__all__ = ["REPLICATION_CONTROLLERS", "ReplicaSetController"]
