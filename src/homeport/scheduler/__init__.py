"""Which node a pod runs on: filters and scores as functions over a snapshot."""

from homeport.scheduler.controller import Scheduler

__all__ = ["Scheduler"]
