"""A cluster as tests see it: plain calls, the same for simulated and for real pods.

A target is `kind/name` or `kind/namespace/name`; kinds may be short (`sts/db`). How time passes and
what can be done by hand differs; `cluster.SimulatedCluster` and `real.RealCluster` say that.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from homeport.api.resources import Resource, find
from homeport.client.apply import apply as apply_object
from homeport.client.contract import PatchType
from homeport.client.manifests import Manifest, manifests_of, parse_manifests, read_manifests, resource_of
from homeport.client.readiness import verdict
from homeport.client.rest import RestClient
from homeport.testing.claims import Claims
from homeport.testing.clients import Clients, kubectl
from homeport.testing.commands import ExecResult
from homeport.testing.handles import Event, Nodes, Pods
from homeport.testing.hands import Hands

if TYPE_CHECKING:
    from homeport.testing.aio import AsyncCluster
    from homeport.testing.real import RealCluster

__all__ = ["EVENTS", "PODS", "SETS", "Cluster", "Place", "Source", "WaitedTooLong"]

EVENTS: Final = find("Event")
PODS: Final = find("Pod")
SETS: Final = find("ReplicaSet", "apps")
T = TypeVar("T")
Source = str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]]
Place = tuple[Resource, str | None, str]
"""A kind, a namespace (None where it has none) and a name."""


class WaitedTooLong(AssertionError):
    """What was waited for did not come in the time given."""


class Cluster(ABC):
    """One cluster that lives until `close`. It begins with the first call that needs it.

    title  what a failing test's report calls it
    hands  what is done to pods and nodes by hand
    """

    wait_seconds = 600.0
    title: str
    hands: Hands

    def __init__(self, base: Path | None) -> None:
        self._base = base
        self.pods = Pods(self)
        self.nodes = Nodes(self)
        self.claims = Claims(self)
        self.clients = Clients(self)
        self._aio: AsyncCluster | None = None
        self._others: list[Cluster] = []

    @property
    def others(self) -> "tuple[Cluster, ...]":
        """The clusters made from this one."""
        return tuple(self._others)

    def _end_others(self) -> None:
        others, self._others = self._others, []
        for other in others:
            other.close()

    def real(self, **options: Any) -> "RealCluster":
        """Return a cluster of real pods with the same calls; it ends with `with`, or with this one.

        options  of `RealCluster`
        """
        from homeport.testing.real import RealCluster

        other = RealCluster(base=self._base, **options)
        self._others.append(other)
        return other

    # What the two kinds do in their own ways

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether anything was asked of it yet."""

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the cluster's loop to its end; time passes as far as it waits."""

    @abstractmethod
    def rest(self, user_agent: str) -> RestClient:
        """Return a client for use on the cluster's loop."""

    @abstractmethod
    def objects(self, resource: Resource, namespace: str | None = None) -> list[Any]:
        """Return the objects of a kind as they are now, in the order of their names."""

    @abstractmethod
    def find_object(self, resource: Resource, namespace: str | None, name: str) -> Any | None:
        """Return one object as it is now, None when there is none."""

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """A kubeconfig any client can use: the API is served over HTTPS on loopback from now on."""

    @property
    @abstractmethod
    def now(self) -> float:
        """Seconds since the cluster began, by its own time."""

    @abstractmethod
    def advance(self, *, seconds: float = 0.0, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let time pass."""

    @abstractmethod
    def settle(self, *, quiet: float | None = None, limit: float = 3600.0) -> None:
        """Let time pass until nothing changes for `quiet` seconds. Raises WaitedTooLong after `limit` seconds."""

    @abstractmethod
    def _until(self, place: Place, holds: Callable[[Any], bool], timeout: float) -> Any:
        """Let time pass until something holds for an object (None: it does not exist), and return it.

        Raises TimeoutError.
        """

    @abstractmethod
    def resolve(self, name: str, kind: str = "A", *, namespace: str = "default") -> tuple[str, ...]:
        """Return what a name stands for, as a pod of a namespace sees it: addresses, or records in text form."""

    @abstractmethod
    def endpoints(self, service: str, *, namespace: str = "default") -> tuple[str, ...]:
        """Return `address:port` of every pod that a connection to a Service's address may reach now."""

    @abstractmethod
    def restart_controllers(self) -> None:
        """Kill controllers and scheduler between any two steps, and start new ones from what the API knows."""

    @abstractmethod
    def story(self) -> str:
        """Return what happened so far, one line per change that matters."""

    @abstractmethod
    def close(self) -> None:
        """End the cluster and remove what it kept on disk."""

    # Time

    def wait(
        self,
        target: str,
        *,
        ready: int | None = None,
        gone: bool = False,
        until: Callable[[Any], bool] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Let time pass until an object is as wanted, and return it; None for one that is gone.

        ready    until it has exactly so many ready replicas; without it, until it is ready in the usual sense
        gone     until it does not exist
        until    until this holds for the object
        timeout  seconds of the cluster's time; then WaitedTooLong is raised. Ten minutes, two in real time
        """
        timeout = self.wait_seconds if timeout is None else timeout
        place = self._place(target)

        def holds(obj: Any) -> bool:
            if gone or obj is None:
                return gone and obj is None
            if until is not None:
                return until(obj)
            if ready is not None:
                return bool((obj.get("status") or {}).get("readyReplicas", 0) == ready)
            return verdict(obj, self.owned(obj)).ready

        try:
            return self._until(place, holds, timeout)
        except TimeoutError:
            raise WaitedTooLong(self._complaint(target, ready, gone, timeout)) from None

    def _complaint(self, target: str, ready: int | None, gone: bool, timeout: float) -> str:
        obj = self.find(target)
        wanted = "gone" if gone else f"ready={ready}" if ready is not None else "as wanted"
        if obj is None:
            return f"{target} does not exist after {timeout:g} s; waited for {wanted}"
        waits = verdict(obj, self.owned(obj)).waits_for
        have = (obj.get("status") or {}).get("readyReplicas", 0)
        return f"{target} is not {wanted} after {timeout:g} s: {have} ready" + (
            f"; it waits for {waits}" if waits else ""
        )

    def _at_hand(self, resource: Resource, namespace: str | None) -> Sequence[Any]:
        """Return objects of a kind for a decision that is made on the cluster's loop."""
        return self.objects(resource, namespace)

    def owned(self, obj: Any) -> list[Any]:
        """Return the pods an object owns, directly or through a ReplicaSet."""
        metadata = obj["metadata"]
        owners = {metadata["uid"]}
        if obj.get("kind") == "Deployment":
            owners |= {
                one["metadata"]["uid"] for one in self._at_hand(SETS, metadata["namespace"]) if _owners(one) & owners
            }
        return [pod for pod in self._at_hand(PODS, metadata.get("namespace")) if _owners(pod) & owners]

    # Objects

    def apply(self, source: Source, *, namespace: str = "default") -> list[Any]:
        """Create or change what manifests say; returns the objects.

        source  a file or directory, YAML text with a line break, an object, or several
        """
        manifests = self._manifests(source)

        async def send() -> list[Any]:
            client = self.rest("kubectl-client-side-apply")
            return [
                (await apply_object(client, one.resource, one.tree, one.namespace(namespace)))[1] for one in manifests
            ]

        return self.run(send())

    def _manifests(self, source: Source) -> list[Manifest]:
        if isinstance(source, Mapping):
            return manifests_of("the object", source)
        if isinstance(source, str) and "\n" in source:
            return parse_manifests("the text", source)
        if isinstance(source, str | Path):
            path = Path(source)
            if self._base is not None and not path.exists():
                path = self._base / path
            return read_manifests([str(path)])
        return [one for number, tree in enumerate(source) for one in manifests_of(f"object {number}", tree)]

    def find(self, target: str) -> Any | None:
        """Return an object as it is now, None when there is none."""
        return self.find_object(*self._place(target))

    def get(self, target: str) -> Any:
        """Return an object as it is now. Raises NotFound."""
        resource, namespace, name = self._place(target)
        return self.run(self.rest("test").get(resource, namespace, name))

    def list(self, kind: str, *, namespace: str | None = None, selector: str = "") -> Sequence[Any]:
        """Return the objects of a kind with these labels, in the order of their names."""
        return self.run(self.rest("test").list(resource_of(kind), namespace, label_selector=selector)).items

    def patch(
        self, target: str, patch: Mapping[str, Any] | None = None, *, image: str = "", container: str = ""
    ) -> Any:
        """Merge a patch into an object (strategic merge), or give its template's container another image."""
        resource, namespace, name = self._place(target)
        body: Mapping[str, Any] = patch or {}
        if image:
            body = _image_patch(self.get(target), image, container)
        return self.run(self.rest("test").patch(resource, namespace, name, body, kind=PatchType.STRATEGIC))

    def scale(self, target: str, replicas: int) -> None:
        """Ask for so many replicas."""
        self.patch(target, {"spec": {"replicas": replicas}})

    def delete(self, target: str, *, grace: int | None = None, propagation: str = "") -> None:
        """Ask for an object's deletion. Raises NotFound."""
        resource, namespace, name = self._place(target)
        self.run(self.rest("test").delete(resource, namespace, name, grace_seconds=grace, propagation=propagation))

    @staticmethod
    def _place(target: str) -> Place:
        parts = target.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"{target!r} names no object; write kind/name or kind/namespace/name")
        resource = resource_of(parts[0])
        if not resource.namespaced:
            return resource, None, parts[-1]
        return resource, (parts[1] if len(parts) == 3 else "default"), parts[-1]

    # Looking around

    def events(self, target: str = "") -> Sequence[Event]:
        """Return the events about an object (without a target: all), oldest first."""
        found = [Event.of(tree) for tree in self.objects(EVENTS)]
        if target:
            resource, namespace, name = self._place(target)
            found = [one for one in found if one.about == (resource.kind, namespace or "", name)]
        return sorted(found, key=lambda one: one.version)

    def logs(self, pod: str, *, container: str = "") -> str:
        """Return what a pod's containers (or one of them) have printed since their last start."""
        return self.pods[pod].logs(container)

    def exec(self, pod: str, command: Sequence[str], *, stdin: str | bytes = b"", container: str = "") -> ExecResult:
        """Run a command in a pod's container and return how it ended."""
        return self.pods[pod].exec(command, stdin=stdin, container=container)

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = 60.0) -> str:
        """Run kubectl against this cluster and return its standard output; `timeout` in real seconds.

        Raises KubectlFailed, FileNotFoundError where kubectl is not installed.
        """
        return kubectl(self.kubeconfig, arguments, stdin, timeout)

    @property
    def aio(self) -> "AsyncCluster":
        """The same calls for `async` tests: `await homeport.aio.wait("sts/db")`."""
        if self._aio is None:
            from homeport.testing.aio import AsyncCluster

            self._aio = AsyncCluster(self)
        return self._aio


def _owners(obj: Any) -> set[str]:
    return {str(one["uid"]) for one in obj["metadata"].get("ownerReferences") or ()}


def _image_patch(obj: Any, image: str, container: str) -> Mapping[str, Any]:
    template = obj["spec"].get("template")
    containers = (template or obj)["spec"]["containers"]
    if not container and len(containers) > 1:
        names = ", ".join(one["name"] for one in containers)
        raise ValueError(f"{obj['metadata']['name']} has several containers; say which one: {names}")
    change = {"spec": {"containers": [{"name": container or containers[0]["name"], "image": image}]}}
    return {"spec": {"template": change}} if template else change
