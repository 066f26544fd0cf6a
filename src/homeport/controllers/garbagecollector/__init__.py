"""Garbage collection: what nobody owns any more goes, in the order its owners asked for."""

from homeport.controllers.garbagecollector.controller import GarbageCollector, collectable

__all__ = ["GarbageCollector", "collectable"]
