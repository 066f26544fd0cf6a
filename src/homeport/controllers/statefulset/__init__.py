"""StatefulSets: pods that keep their name, their claims and their order."""

from homeport.controllers.statefulset.controller import StatefulSetController

__all__ = ["StatefulSetController"]
