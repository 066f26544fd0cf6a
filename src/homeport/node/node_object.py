"""The Node object and its Lease: what the machine is and has, and that it is alive. Source: `node` section 14."""

import asyncio
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.clock import Clock, micro_time, rfc3339
from homeport.errors import ApiError, NotFound
from homeport.node.context import Capacity
from homeport.node.events import Recorder
from homeport.node.runtime.contract import Images, Runtime
from homeport.node.runtime.versions import outdated
from homeport.node.settings import NodeSettings

__all__ = ["NodeObject", "machine_capacity", "node_conditions", "node_info"]

NODES: Final = find("Node")
LEASES: Final = find("Lease", "coordination.k8s.io")
LEASE_NAMESPACE: Final = "kube-node-lease"
LEASE_SECONDS: Final = 40
RENEW_SECONDS: Final = 10.0
REPORT_SECONDS: Final = 300.0
RESERVED_MEMORY: Final = 100 << 20
IMAGE_LIMIT: Final = 50
KUBELET_PORT: Final = 10250
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}

_log = logging.getLogger(__name__)


def machine_capacity(settings: NodeSettings) -> Capacity:
    """Return what this machine has; allocatable keeps back what eviction would protect (`node` 14.6)."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = os.statvfs(settings.data if settings.data.exists() else "/")
    disk_bytes = disk.f_blocks * disk.f_frsize
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "ephemeral-storage": f"{disk_bytes >> 10}Ki",
        "memory": f"{memory >> 10}Ki",
        "pods": str(settings.max_pods),
    }
    allocatable = {
        **capacity,
        "ephemeral-storage": str(disk_bytes * 9 // 10),
        "memory": f"{max(0, memory - RESERVED_MEMORY) >> 10}Ki",
    }
    return Capacity(capacity, allocatable, memory)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def architecture() -> str:
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


@cache
def machine_info() -> Mapping[str, str]:
    """Return what `status.nodeInfo` says of the machine: none of it changes while a process lives."""
    release = dict(line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line)
    machine = _read("/etc/machine-id")
    return {
        "machineID": machine,
        "systemUUID": _read("/sys/class/dmi/id/product_uuid") or machine,
        "bootID": _read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": release.get("PRETTY_NAME", "Linux").strip('"'),
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def node_info(settings: NodeSettings, runtime: Runtime) -> dict[str, str]:
    """Return `status.nodeInfo` of this machine."""
    return {
        **machine_info(),
        "containerRuntimeVersion": f"{runtime.name}://{runtime.version}",
        "kubeletVersion": settings.version,
        "kubeProxyVersion": "",
    }


_CONDITIONS: Final = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def node_conditions(before: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
    """Return the conditions in their order; `lastTransitionTime` moves only with the status."""
    known = {entry["type"]: entry for entry in before.get("conditions") or ()}
    stamp = rfc3339(now)
    out: list[dict[str, Any]] = []
    for kind, status, reason, message in _CONDITIONS:
        old = known.get(kind)
        same = old is not None and old.get("status") == status
        out.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": stamp,
                "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else stamp,
                "reason": reason,
                "message": message,
            }
        )
    return out


class NodeObject:
    """Registers the node and keeps it alive in the eyes of the cluster."""

    def __init__(
        self, settings: NodeSettings, client: Client, clock: Clock, runtime: Runtime, images: Images,
        capacity: Capacity, addresses: Sequence[str], recorder: Recorder,
    ) -> None:  # fmt: skip
        self._settings, self._client, self._clock = settings, client, clock
        self._runtime, self._images, self._capacity = runtime, images, capacity
        self._addresses, self._recorder = addresses, recorder
        self._reported_at = float("-inf")
        self._posted: Mapping[str, Any] = {}

    async def run(self) -> None:
        """Register, then renew the lease every 10 s and report on change; ends by cancellation only."""
        pause = 0.2
        while True:
            try:
                node = await self._register()
                break
            except (ApiError, OSError) as error:
                _log.info("node not registered: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RENEW_SECONDS)
        self._recorder.normal(node, "Starting", "Starting kubelet.")
        for word in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"):
            self._recorder.normal(node, word, f"Node {self._settings.name} status is now: {word}")
        if remark := outdated(self._runtime.name, self._runtime.version):
            self._recorder.warning(node, "RuntimeOutdated", remark)
        while True:
            try:
                await self._renew(node)
                await self._report()
            except NotFound:
                node = await self._reregister(node)
            except (ApiError, OSError) as error:
                _log.info("node heartbeat failed: %s", error)
            await asyncio.sleep(RENEW_SECONDS)

    async def _reregister(self, node: Object) -> Object:
        try:
            return await self._register()
        except (ApiError, OSError) as error:
            _log.info("node not registered again: %s", error)
            return node

    def _labels(self) -> dict[str, str]:
        return {
            "beta.kubernetes.io/arch": architecture(),
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture(),
            "kubernetes.io/hostname": self._settings.name,
            "kubernetes.io/os": "linux",
        }

    async def _register(self) -> Object:
        """Create the Node, or bring the labels of an existing one up to date; users' own are kept."""
        try:
            node = await self._renewed(await self._client.get(NODES, None, self._settings.name))
        except NotFound:
            return await self._created()
        self._reported_at = float("-inf")
        await self._report(node)
        return node

    async def _created(self) -> Object:
        name, now = self._settings.name, self._clock.now()
        status = await self._status(now, {})
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": self._labels(),
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {"podCIDRs": list(self._settings.pod_cidrs)} if self._settings.pod_cidrs else {},
            "status": status,
        }
        node = await self._client.create(NODES, body)
        self._posted, self._reported_at = status, now  # a server that did not take it is told with the first heartbeat
        return node

    async def _renewed(self, node: Object) -> Object:
        """Return the node of an earlier agent with this one's labels and ranges."""
        name = self._settings.name
        changes: dict[str, Any] = {}
        if not self._labels().items() <= (node["metadata"].get("labels") or {}).items():
            changes["metadata"] = {"labels": self._labels()}
        if self._settings.pod_cidrs and not (node.get("spec") or {}).get("podCIDRs"):
            changes["spec"] = {"podCIDRs": list(self._settings.pod_cidrs)}
        if changes:
            node = await self._client.patch(NODES, None, name, changes)
        boot = (node.get("status") or {}).get("nodeInfo", {}).get("bootID")
        current = machine_info()["bootID"]
        if boot and boot != current:
            self._recorder.warning(node, "Rebooted", f"Node {name} has been rebooted, boot id: {current}")
        return node

    async def _report(self, node: Object | None = None) -> None:
        """Post the status when it is not what the cluster holds, or the last one is five minutes old.

        Others write it too: a node that was silent for a while has been declared unknown meanwhile.
        """
        now = self._clock.now()
        if node is None:
            node = await self._client.get(NODES, None, self._settings.name)
        held = node.get("status") or {}
        status = await self._status(now, held)
        unchanged = _without_heartbeat(status) == _without_heartbeat(self._posted) and _states(status) <= _states(held)
        if unchanged and now - self._reported_at < REPORT_SECONDS:
            return
        # A strategic merge knows addresses by their type, and two families have two of one type: they are sent whole.
        patch = {"status": {**status, "addresses": [*status["addresses"], {"$patch": "replace"}]}}
        await self._client.patch(
            NODES, None, self._settings.name, patch, kind=PatchType.STRATEGIC, subresource="status"
        )
        self._posted, self._reported_at = status, now

    async def _status(self, now: float, held: Mapping[str, Any]) -> dict[str, Any]:
        images = sorted(await self._images.list(), key=lambda image: -image.size_bytes)[:IMAGE_LIMIT]
        return {
            "capacity": dict(self._capacity.capacity),
            "allocatable": dict(self._capacity.allocatable),
            "conditions": node_conditions(held, now),
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in self._addresses),
                {"type": "Hostname", "address": self._settings.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            "nodeInfo": node_info(self._settings, self._runtime),
            "images": [
                {
                    "names": [name for name in (image.digest, image.reference) if name],
                    "sizeBytes": image.size_bytes,
                }
                for image in images
            ],
        }

    async def _renew(self, node: Object) -> None:
        name = self._settings.name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro_time(self._clock.now()),
        }
        try:
            await self._client.patch(LEASES, LEASE_NAMESPACE, name, {"spec": spec})
        except NotFound:
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
            metadata = {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]}
            body = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            await self._client.create(LEASES, body)


def _without_heartbeat(status: Mapping[str, Any]) -> dict[str, Any]:
    conditions = [
        {key: value for key, value in entry.items() if key != "lastHeartbeatTime"}
        for entry in status.get("conditions") or ()
    ]
    return {**status, "conditions": conditions}


def _states(status: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(entry["type"], entry["status"]) for entry in status.get("conditions") or ()}
