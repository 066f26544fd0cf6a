"""DaemonSets: one pod on every node that fits."""

from homeport.controllers.daemonset.controller import DaemonSetController

__all__ = ["DaemonSetController"]
