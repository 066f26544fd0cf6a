"""PodDisruptionBudgets: how many pods may be evicted now."""

from homeport.controllers.disruption.controller import DisruptionController
from homeport.controllers.disruption.stale import StaleDisruptions

__all__ = ["DisruptionController", "StaleDisruptions"]
