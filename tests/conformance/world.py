"""Where a conformance test happens: one interface, a simulated cluster or real pods behind it.

A test takes the fixture `world` and speaks to the API only through it, so that it says the same on both sides. Calls
are plain; whatever waits lets time pass, virtual or real. A target is `kind/name`, in the test's own namespace.
"""

import asyncio
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pytest

from homeport.api.exchange import Request
from homeport.api.resources import Resource
from homeport.client.contract import PatchType, WatchEvent
from homeport.client.manifests import resource_of
from homeport.client.rest import RestClient, collection_path, object_path
from homeport.errors import Conflict, NotFound, error_from_status

__all__ = ["PORT", "Log", "World", "also_on_real_pods", "owner", "revision_label", "web_container"]

T = TypeVar("T")
PORT = 8080
"""Where the web server of `World.images` answers `/` with its host name."""

REAL_PATIENCE_SECONDS = 2.0

also_on_real_pods = pytest.mark.parametrize(
    "world",
    ["simulated", pytest.param("real", marks=[pytest.mark.real, pytest.mark.timeout(300)])],
    indirect=True,
)
"""For tests that need processes: they run in the simulated cluster and again on real pods."""


@dataclass
class Log:
    """What a watch has told so far, in order."""

    events: list[WatchEvent] = field(default_factory=list)

    def names(self, kind: str) -> list[str]:
        """Return the names in the events of one kind (ADDED, MODIFIED, DELETED), in order."""
        return [str(event.object["metadata"]["name"]) for event in self.events if event.kind == kind]

    def kinds(self) -> list[str]:
        """Return the kinds of the events, in order."""
        return [event.kind for event in self.events]

    def objects(self) -> list[Any]:
        """Return the objects as the events showed them."""
        return [event.object for event in self.events]


class World(ABC):
    """One namespace of a running cluster.

    namespace      where objects go that name none
    images         two images of one web server: it answers on `PORT`, and ends when told to
    runs_programs  whether programs run, so that `execute` finds somebody
    """

    namespace: str
    images: tuple[str, str]
    runs_programs: bool
    client: RestClient

    # The two sides

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""

    @abstractmethod
    def now(self) -> float:
        """Return seconds that pass as the cluster's time does."""

    @abstractmethod
    def _clear(self) -> None:
        """From here on, notice changes."""

    @abstractmethod
    def _change(self, seconds: float) -> None:
        """Let time pass until something may have changed since `_clear`, or so many seconds went by."""

    @abstractmethod
    def break_http_probe(self, pod: str) -> None:
        """Let the web server of a pod fail its readiness probe."""

    @abstractmethod
    def mend_http_probe(self, pod: str) -> None:
        """Let the web server of a pod pass its readiness probe again."""

    @abstractmethod
    def execute(self, pod: str, *command: str, container: str = "") -> str:
        """Run a command in a pod; return what it printed. Raises AssertionError when it fails."""

    @abstractmethod
    def resolve(self, name: str, kind: str = "A") -> set[str]:
        """Return what the cluster's DNS says to a pod of the namespace."""

    @abstractmethod
    def fail_image(self, reference: str) -> None:
        """Let an image be nowhere to be had."""

    # Time

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run(asyncio.sleep(seconds))

    def until(self, holds: Callable[[], T], what: str, seconds: float = 300.0) -> T:
        """Let time pass until something holds; return what it gave. Raises AssertionError after so many seconds."""
        deadline = self.now() + seconds
        while True:
            self._clear()
            try:
                if found := holds():
                    return found
            except NotFound:
                pass
            left = deadline - self.now()
            assert left > 0, f"waited {seconds:g} s in vain: {what}"
            self._change(left)

    def stays(self, holds: Callable[[], object], what: str, seconds: float = 10.0) -> None:
        """Let so much time pass and fail as soon as something does not hold; real time is dear, so a little of it."""
        deadline = self.now() + (min(seconds, REAL_PATIENCE_SECONDS) if self.runs_programs else seconds)
        while True:
            self._clear()
            assert holds(), f"did not stay so: {what}"
            if (left := deadline - self.now()) <= 0:
                return
            self._change(left)

    # Objects

    def place(self, target: str) -> tuple[Resource, str | None, str]:
        """Return resource, namespace and name of `kind/name`."""
        kind, _, name = target.partition("/")
        resource = resource_of(kind)
        return resource, self.namespace if resource.namespaced else None, name

    def create(self, tree: Mapping[str, Any]) -> Any:
        """Create an object as it is given. Raises ApiError."""
        resource = resource_of_tree(tree)
        return self.run(self.client.create(resource, tree, self.namespace if resource.namespaced else None))

    def get(self, target: str, subresource: str = "") -> Any:
        """Return an object, or a subresource of it. Raises NotFound."""
        resource, namespace, name = self.place(target)
        return self.request("GET", object_path(resource, namespace, name, subresource))

    def find(self, target: str) -> Any | None:
        """Return an object, None when there is none."""
        try:
            return self.get(target)
        except NotFound:
            return None

    def items(self, kind: str, selector: str = "", *, everywhere: bool = False) -> Sequence[Any]:
        """Return the objects of a kind with these labels, in the order of their names."""
        return self.listing(kind, selector, everywhere=everywhere).items

    def listing(self, kind: str, selector: str = "", *, everywhere: bool = False) -> Any:
        """Return a whole list answer: items and resource version."""
        resource = resource_of(kind)
        namespace = self.namespace if resource.namespaced and not everywhere else None
        return self.run(self.client.list(resource, namespace, label_selector=selector))

    def put(self, target: str, tree: Mapping[str, Any], subresource: str = "") -> Any:
        """PUT a tree to an object's place or to a subresource of it. Raises ApiError."""
        resource, namespace, name = self.place(target)
        return self.request("PUT", object_path(resource, namespace, name, subresource), tree)

    def change(self, target: str, edit: Callable[[Any], object], subresource: str = "") -> Any:
        """Read an object, edit a copy, write it back; again when somebody else was quicker."""
        for _ in range(20):
            tree = copy.deepcopy(self.get(target))
            edit(tree)
            try:
                return self.put(target, tree, subresource)
            except Conflict:
                continue
        raise AssertionError(f"{target} changes all the time")

    def patch(self, target: str, body: Any, *, kind: PatchType = PatchType.STRATEGIC, subresource: str = "") -> Any:
        """Send a patch. Raises ApiError."""
        resource, namespace, name = self.place(target)
        return self.run(self.client.patch(resource, namespace, name, body, kind=kind, subresource=subresource))

    def scale(self, target: str, replicas: int) -> Any:
        """Ask for so many replicas."""
        return self.patch(target, {"spec": {"replicas": replicas}})

    def delete(self, target: str, *, grace: int | None = None, propagation: str = "") -> None:
        """Ask for an object's deletion. Raises NotFound."""
        resource, namespace, name = self.place(target)
        self.run(self.client.delete(resource, namespace, name, grace_seconds=grace, propagation=propagation))

    def delete_collection(self, kind: str, selector: str = "", *, grace: int | None = None) -> None:
        """Ask for the deletion of all objects of a kind with these labels."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1"}
        body = {**options, "gracePeriodSeconds": grace} if grace is not None else options
        resource = resource_of(kind)
        query = (("labelSelector", selector),) if selector else ()
        self.request("DELETE", collection_path(resource, self.namespace), body, query)

    def request(self, method: str, path: str, body: Any = None, query: tuple[tuple[str, str], ...] = ()) -> Any:
        """Send a request of one's own; return the decoded answer. Raises ApiError."""
        headers = {"accept": "application/json", "user-agent": self.client.user_agent}
        if body is not None:
            headers["content-type"] = "application/json"
        sent = Request(method, path, query, headers, msgspec.json.encode(body) if body is not None else b"")

        async def send() -> Any:
            response = await self.client.transport.send(sent)
            tree = response.document if response.document is not None else msgspec.json.decode(response.body)
            if response.status >= 400:
                raise error_from_status(response.status, tree)
            return tree

        return self.run(send())

    def read(self, path: str) -> str:
        """Return what the server answers to a GET, as text; empty when it answers with an error."""
        sent = Request("GET", path, (), {"user-agent": self.client.user_agent})

        async def send() -> str:
            response = await self.client.transport.send(sent)
            parts = [response.body]
            if response.stream is not None:
                parts += [chunk async for chunk in response.stream]
            return b"".join(parts).decode() if response.status < 400 else ""

        return self.run(send())

    @contextmanager
    def watching(
        self, kind: str, selector: str = "", *, fields: str = "", since: str = "", everywhere: bool = False
    ) -> Iterator[Log]:
        """Collect what a watch tells from a resource version on (from now on without one) while the block lasts."""
        resource = resource_of(kind)
        namespace = self.namespace if resource.namespaced and not everywhere else None
        since = since or self.listing(kind, selector, everywhere=everywhere).resource_version
        log = Log()

        async def follow(opened: asyncio.Event) -> None:
            async with self.client.watch(
                resource, namespace, resource_version=since, label_selector=selector, field_selector=fields
            ) as events:
                opened.set()
                async for event in events:
                    if event.kind != "BOOKMARK":
                        log.events.append(event)

        async def start() -> asyncio.Task[None]:
            opened = asyncio.Event()
            task = asyncio.create_task(follow(opened), name=f"watch-{kind}")
            first = asyncio.create_task(opened.wait())
            await asyncio.wait((task, first), return_when=asyncio.FIRST_COMPLETED)
            first.cancel()
            return task

        async def stop(task: asyncio.Task[None]) -> None:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()

        task = self.run(start())
        try:
            yield log
        finally:
            self.run(stop(task))

    # What tests of workloads keep asking

    def pods(self, selector: str) -> list[Any]:
        """Return the pods with these labels, in the order of their names."""
        return list(self.items("pods", selector))

    def pod_names(self, selector: str) -> list[str]:
        return [str(pod["metadata"]["name"]) for pod in self.pods(selector)]

    def status(self, target: str) -> Any:
        """Return an object's status; empty while it has none."""
        return self.get(target).get("status") or {}

    def observed(self, target: str) -> Any:
        """Wait until a workload's controller has seen its present generation; return it."""

        def seen() -> Any:
            tree = self.get(target)
            observed = (tree.get("status") or {}).get("observedGeneration", 0)
            return tree if observed >= tree["metadata"]["generation"] else None

        return self.until(seen, f"{target} is observed")

    def ready(self, pod: str) -> bool:
        """Whether a pod exists, is running and ready."""
        tree = self.find(f"pod/{pod}")
        return tree is not None and is_ready(tree)

    def events(self, target: str) -> list[Any]:
        """Return the events about an object, oldest first."""
        resource, _, name = self.place(target)
        found = [one for one in self.items("events") if one["involvedObject"].get("name") == name]
        found = [one for one in found if one["involvedObject"].get("kind") == resource.kind]
        return sorted(found, key=lambda one: int(one["metadata"]["resourceVersion"]))


def resource_of_tree(tree: Mapping[str, Any]) -> Resource:
    """Return the resource an object belongs to."""
    group = str(tree["apiVersion"]).rpartition("/")[0]
    return resource_of(f"{tree['kind']}.{group}" if group else str(tree["kind"]))


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is running and ready."""
    status = pod.get("status") or {}
    conditions = status.get("conditions") or ()
    return status.get("phase") == "Running" and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def owner(tree: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return kind, name and UID of an object's controller, None when it has none."""
    for reference in tree["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference["kind"], reference["name"], reference["uid"]
    return None


def revision_label(pod: Mapping[str, Any]) -> str:
    """Return the revision a StatefulSet's pod was made from."""
    return str(pod["metadata"]["labels"]["controller-revision-hash"])


def web_container(image: str, *, probe: bool = False, name: str = "webserver") -> dict[str, Any]:
    """Return a container of the web server of `World.images`; with a readiness probe when wanted."""
    container: dict[str, Any] = {"name": name, "image": image, "ports": [{"containerPort": PORT}]}
    if probe:
        container["readinessProbe"] = {
            "httpGet": {"path": "/index.html", "port": PORT},
            "periodSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 1,
        }
    return container
