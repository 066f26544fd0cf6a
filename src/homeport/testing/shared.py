"""One cluster for several tests, each of which begins where the shared fixtures left it."""

from typing import Any

from homeport.testing.cluster import SimulatedCluster
from homeport.testing.facade import Cluster
from homeport.testing.snapshot import Snapshot

__all__ = ["Shared"]


class Shared:
    """Keeps the moment tests begin from. A cluster of real pods cannot go back: its tests follow upon each other."""

    def __init__(self, cluster: Cluster, wishes: dict[str, Any]) -> None:
        self.cluster, self.wishes = cluster, wishes
        self._base: Snapshot | None = None

    def begin(self) -> Cluster:
        """Return the cluster for a test, as the fixtures of wider scope made it."""
        cluster = self.cluster
        if isinstance(cluster, SimulatedCluster):
            if cluster.begun:  # somebody used it since the last test went back
                self._base = cluster.snapshot()
                cluster.rewind(self._base)
            if cluster.serves:
                assert cluster.simulation  # clients may ask before the test does
        return cluster

    def end(self) -> None:
        """Forget what a test did."""
        if isinstance(self.cluster, SimulatedCluster):
            self.cluster.rewind(self._base)
