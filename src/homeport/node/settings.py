"""What a node is told once, when it starts."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from homeport.api.release import KUBERNETES_VERSION
from homeport.node.pod import Pod

__all__ = ["NodeSettings"]


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Places and names of one node.

    What a pod has lies in two places: on disk what outlives its processes (`checkpoints`, `pod_storage`, logs), in
    memory what is made anew with them (`pod_directory`, below the runtime's `live`).

    data           the cluster's data directory; pods, logs and sockets live below it
    pod_cidrs      where its pods' addresses come from, one range per family; empty where nobody has to know
    host_resolver  the resolv.conf of the host, for `dnsPolicy: Default`
    """

    name: str
    data: Path
    cluster_domain: str = "cluster.local"
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    pod_cidrs: tuple[str, ...] = ()
    host_resolver: Path = Path("/etc/resolv.conf")
    host_hosts: Path = Path("/etc/hosts")
    max_pods: int = 110
    version: str = KUBERNETES_VERSION

    @property
    def pods(self) -> Path:
        return self.data / "pods"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def socket(self) -> Path:
        """Where the node's own HTTP API listens."""
        return self.data / "run" / "node.sock"

    @property
    def short_version(self) -> str:
        """`1.36`: what probes and hooks call themselves."""
        return ".".join(self.version.removeprefix("v").split(".")[:2])

    def pod_directory(self, uid: str) -> Path:
        """Where a pod's identity files, projected volumes and last words are."""
        return _pod_directory(self.data, uid)

    def pod_storage(self, uid: str) -> Path:
        """Where a pod's empty directories are; there only when it has some."""
        return Path(self.data, "pods", uid)

    @property
    def checkpoints(self) -> Path:
        return self.data / "checkpoints"

    def log_directory(self, pod: Pod) -> Path:
        """Where a pod's container logs are (`node` 13.1)."""
        return Path(self.data, "logs", f"{pod.namespace}_{pod.name}_{pod.uid}")

    def log_path(self, pod: Pod, container: str, attempt: int) -> Path:
        return Path(self.data, "logs", f"{pod.namespace}_{pod.name}_{pod.uid}", container, f"{attempt}.log")


@lru_cache(maxsize=4096)
def _pod_directory(data: Path, uid: str) -> Path:
    """Return where a pod's files are: asked for whenever something of it is written."""
    return Path(data, "run", "live", "pods", uid)
