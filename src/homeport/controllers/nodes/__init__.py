"""Nodes that fall silent, what that means for their pods, and pods nobody will finish."""

from homeport.controllers.nodes.eviction import TaintEviction
from homeport.controllers.nodes.lifecycle import NodeLifecycle
from homeport.controllers.nodes.podgc import PodCollector

__all__ = ["NodeLifecycle", "PodCollector", "TaintEviction"]
