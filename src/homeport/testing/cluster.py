"""A simulated cluster for ordinary tests: plain calls, no `async`. Each call lets virtual time pass as far as it says.

    cluster = SimulatedCluster(seed=7)
    cluster.apply("statefulset.yaml")
    cluster.wait("statefulset/db", ready=3)
    cluster.pods["db-2"].fail_probe("readiness")
    cluster.advance(minutes=30)
    cluster.close()

Time stands still between calls. A target is `kind/name` or `kind/namespace/name`; kinds may be short (`sts/db`).
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from homeport.api.resources import Resource, find
from homeport.client.apply import apply as apply_object
from homeport.client.contract import PatchType
from homeport.client.manifests import Manifest, manifests_of, parse_manifests, read_manifests, resource_of
from homeport.client.readiness import verdict
from homeport.node.pod import ProbeKind
from homeport.testing.behaviour import Ending, Program
from homeport.testing.faults import Rule
from homeport.testing.handles import Event, Nodes, Pods
from homeport.testing.loop import VirtualLoop
from homeport.testing.simulation import CONTROL, Simulation, Snapshot, scratch_directory

__all__ = ["SimulatedCluster", "WaitedTooLong"]

EVENTS = find("Event")
PODS = find("Pod")
T = TypeVar("T")
Source = str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]]


class WaitedTooLong(AssertionError):
    """What was waited for did not come in the virtual time given."""


class SimulatedCluster:
    """One cluster that lives until `close`. It begins with the first call that needs it.

    seed   where all randomness comes from: the same calls with the same seed give the same history, byte for byte
    nodes  how many nodes there are: `node-1`, `node-2`, …
    base   where relative paths of manifests begin, after the working directory
    """

    def __init__(self, *, seed: int = 0, nodes: int = 2, base: Path | None = None) -> None:
        self.seed, self._nodes, self._base = seed, nodes, base
        self._directory = scratch_directory()
        self._runner: asyncio.Runner | None = None
        self._simulation: Simulation | None = None
        self.pods = Pods(self)
        self.nodes = Nodes(self)

    # The world itself

    @property
    def simulation(self) -> Simulation:
        """The cluster behind the calls, for what they do not offer."""
        if self._simulation is None:
            self._open(None)
        assert self._simulation is not None
        return self._simulation

    def _open(self, snapshot: Snapshot | None) -> None:
        self._runner = asyncio.Runner(loop_factory=lambda: VirtualLoop(threads=False))
        made = Simulation(seed=self.seed, nodes=self._nodes, directory=self._directory, snapshot=snapshot)
        self._runner.run(made.__aenter__())
        self._simulation = made

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the cluster's loop to its end; time passes as far as it waits."""
        self.simulation.check()
        assert self._runner is not None
        return self._runner.run(coroutine)

    def _shut(self) -> None:
        if self._runner is None:
            return
        try:
            if self._simulation is not None:
                self._runner.run(self._simulation.__aexit__(None, None, None))
        finally:
            self._runner.close()
            self._runner = self._simulation = None

    def close(self) -> None:
        """End the cluster and remove what it kept on disk."""
        try:
            self._shut()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    def snapshot(self) -> Snapshot:
        """Return the cluster as it is now: objects, pods, files, clock and randomness."""
        simulation = self.simulation
        return self.run(simulation.snapshot())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this cluster, as often as wanted.

        Pods run on; components begin anew, as after a restart.
        """
        self._shut()
        self._open(snapshot)

    # Time

    @property
    def now(self) -> float:
        """Virtual seconds since the cluster began."""
        simulation = self.simulation

        async def look() -> float:
            return simulation.now

        return self.run(look())

    def advance(self, *, seconds: float = 0.0, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let virtual time pass; everything that is due in between happens."""
        self.run(asyncio.sleep(seconds + 60.0 * minutes + 3600.0 * hours))
        self.simulation.check()

    def settle(self, *, quiet: float = 60.0, limit: float = 3600.0) -> None:
        """Let time pass until nothing changes for `quiet` seconds. Raises WaitedTooLong after `limit` seconds."""
        if not self.run(self.simulation.rest(quiet, limit)):
            raise WaitedTooLong(f"the cluster did not come to rest in {limit:g} s")

    def wait(
        self,
        target: str,
        *,
        ready: int | None = None,
        gone: bool = False,
        until: Callable[[Any], bool] | None = None,
        timeout: float = 600.0,
    ) -> Any:
        """Let time pass until an object is as wanted, and return it; None for one that is gone.

        ready    until it has exactly so many ready replicas; without it, until it is ready in the usual sense
        gone     until it does not exist
        until    until this holds for the object
        timeout  virtual seconds; then WaitedTooLong is raised
        """
        resource, namespace, name = self._place(target)

        def holds(obj: Any) -> bool:
            if gone or obj is None:
                return gone and obj is None
            if until is not None:
                return until(obj)
            if ready is not None:
                return bool((obj.get("status") or {}).get("readyReplicas", 0) == ready)
            return verdict(obj, self._owned(obj)).ready

        simulation = self.simulation

        async def follow() -> Any:
            async with asyncio.timeout(timeout):
                while True:
                    simulation.changed.clear()
                    obj = simulation.find(resource, namespace, name)
                    if holds(obj):
                        return obj
                    await simulation.changed.wait()

        try:
            return self.run(follow())
        except TimeoutError:
            raise WaitedTooLong(self._complaint(target, ready, gone, timeout)) from None

    def _complaint(self, target: str, ready: int | None, gone: bool, timeout: float) -> str:
        obj = self.find(target)
        wanted = "gone" if gone else f"ready={ready}" if ready is not None else "as wanted"
        if obj is None:
            return f"{target} does not exist after {timeout:g} s; waited for {wanted}"
        waits = verdict(obj, self._owned(obj)).waits_for
        have = (obj.get("status") or {}).get("readyReplicas", 0)
        return f"{target} is not {wanted} after {timeout:g} s: {have} ready" + (
            f"; it waits for {waits}" if waits else ""
        )

    def _owned(self, obj: Any) -> list[Any]:
        uid = obj["metadata"]["uid"]
        pods = self.simulation.objects(PODS, obj["metadata"].get("namespace"))
        return [pod for pod in pods if any(one["uid"] == uid for one in pod["metadata"].get("ownerReferences") or ())]

    # Objects

    def apply(self, source: Source, *, namespace: str = "default") -> list[Any]:
        """Create or change what manifests say; returns the objects.

        source  a file or directory, YAML text with a line break, an object, or several
        """
        client = self.simulation.client("kubectl-client-side-apply")

        async def send() -> list[Any]:
            return [
                (await apply_object(client, one.resource, one.tree, one.namespace(namespace)))[1] for one in manifests
            ]

        manifests = self._manifests(source)
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
        return self.simulation.find(*self._place(target))

    def get(self, target: str) -> Any:
        """Return an object as it is now. Raises NotFound."""
        resource, namespace, name = self._place(target)
        return self.run(self.simulation.client("test").get(resource, namespace, name))

    def list(self, kind: str, *, namespace: str | None = None, selector: str = "") -> Sequence[Any]:
        """Return the objects of a kind with these labels, in the order of their names."""
        client = self.simulation.client("test")
        return self.run(client.list(resource_of(kind), namespace, label_selector=selector)).items

    def patch(
        self, target: str, patch: Mapping[str, Any] | None = None, *, image: str = "", container: str = ""
    ) -> Any:
        """Merge a patch into an object (strategic merge), or give its template's container another image."""
        resource, namespace, name = self._place(target)
        body: Mapping[str, Any] = patch or {}
        if image:
            body = _image_patch(self.get(target), image, container)
        client = self.simulation.client("test")
        return self.run(client.patch(resource, namespace, name, body, kind=PatchType.STRATEGIC))

    def scale(self, target: str, replicas: int) -> None:
        """Ask for so many replicas."""
        self.patch(target, {"spec": {"replicas": replicas}})

    def delete(self, target: str, *, grace: int | None = None, propagation: str = "") -> None:
        """Ask for an object's deletion. Raises NotFound."""
        resource, namespace, name = self._place(target)
        client = self.simulation.client("test")
        self.run(client.delete(resource, namespace, name, grace_seconds=grace, propagation=propagation))

    @staticmethod
    def _place(target: str) -> tuple[Resource, str | None, str]:
        parts = target.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"{target!r} names no object; write kind/name or kind/namespace/name")
        resource = resource_of(parts[0])
        if not resource.namespaced:
            return resource, None, parts[-1]
        return resource, (parts[1] if len(parts) == 3 else "default"), parts[-1]

    # Looking around

    def resolve(self, name: str, kind: str = "A", *, namespace: str = "default") -> tuple[str, ...]:
        """Return what a name stands for, as a pod of a namespace sees it: addresses, or records in text form."""
        return self.simulation.names.resolve(name, kind, namespace)

    def endpoints(self, service: str, *, namespace: str = "default") -> tuple[str, ...]:
        """Return `address:port` of every pod that a connection to a Service's address may reach now."""
        return self.simulation.names.endpoints(namespace, service)

    def events(self, target: str = "") -> Sequence[Event]:
        """Return the events about an object (without a target: all), oldest first."""
        found = [Event.of(tree) for tree in self.simulation.objects(EVENTS)]
        if target:
            resource, namespace, name = self._place(target)
            found = [one for one in found if one.about == (resource.kind, namespace or "", name)]
        return sorted(found, key=lambda one: one.version)

    def logs(self, pod: str, *, container: str = "") -> str:
        """Return what a pod's containers (or one of them) have printed since their last start."""
        return self.pods[pod].logs(container)

    def story(self) -> str:
        """Return what happened so far, one line per change that matters."""
        return self.simulation.story.text()

    def history(self) -> str:
        """Return a hash of every change and its time: equal for equal calls and seeds."""
        return self.simulation.digest()

    # What programs do

    def program(self, image: str, ends: Ending | Program) -> None:
        """Let the programs of an image end by themselves: always alike, or as a function of each start says.

        homeport.program("sums:1", Ending(after=30))
        homeport.program("sums:1", lambda start: Ending(5, code=1 if start.attempt == 0 else 0))
        """
        program: Program = (lambda start: ends) if isinstance(ends, Ending) else ends
        self.act(lambda: self.simulation.set_program(image, program))

    # What goes wrong, beyond one pod or node

    def fail_image(self, reference: str) -> None:
        """Let an image be impossible to pull, on every node."""
        self.act(lambda: self.simulation.fail_image(reference))

    def restore_image(self, reference: str) -> None:
        """Let an image be pulled again."""
        self.act(lambda: self.simulation.fail_image(reference, fails=False))

    def fail_requests(
        self, trouble: str, *, component: str = "", method: str = "", path: str = "", chance: float = 1.0,
        count: int | None = None,
    ) -> None:  # fmt: skip
        """Let requests of components fail: `conflict`, `too-many-requests`, `error`, `time-out` or `lost-answer`.

        component  beginning of a component's name, such as `statefulset-controller`; empty: all but the test itself
        method     HTTP method; empty: every write
        path       text in the request's path, such as `/pods`
        chance     how likely each one fails
        count      how many fail; None: until `heal`
        """
        rule = Rule(trouble, component, method, path, chance, count)
        self.act(lambda: self.simulation.faults.add(rule), f"requests fail: {trouble} {component} {method} {path}")

    def drop_watches(self, component: str = "") -> None:
        """Break the open watches of a component, or all."""
        faults = self.simulation.faults
        self.act(lambda: faults.drop_watches(component), f"watches break {component}")

    def expire_watches(self, component: str = "") -> None:
        """Let the open watches of a component, or all, end with 410 Expired."""
        faults = self.simulation.faults
        self.act(lambda: faults.expire_watches(component), f"watches expire {component}")

    def cut_control(self) -> None:
        """Part controllers and scheduler from the server, until `heal`."""
        self.act(lambda: self.simulation.cut(CONTROL))

    def restart_controllers(self) -> None:
        """Kill controllers and scheduler between any two steps, and start new ones from what the API knows."""
        simulation = self.simulation

        async def restart() -> None:
            simulation.say("controllers and scheduler are restarted")
            await simulation.kill_control()
            simulation.start_control()

        self.run(restart())

    def heal(self) -> None:
        """Lift every rule about requests and every partition."""
        self.act(self.simulation.faults.clear, "every fault of the API is lifted")

    def jump(self, *, seconds: float) -> None:
        """Set the cluster's wall clocks forward or back; no timer notices."""
        self.act(lambda: self.simulation.jump(seconds))

    def fail_probe(self, pod: str, kind: str, *, namespace: str = "default", fails: bool = True) -> None:
        """Let the probes of a kind (`startup`, `readiness`, `liveness`) of pods of this name fail, or succeed again."""
        probe = ProbeKind(kind.capitalize())
        self.act(lambda: self.simulation.fail_probe(namespace, pod, probe, fails=fails))

    def act(self, action: Callable[[], object], told: str = "") -> None:
        """Do something on the loop, in no time."""
        simulation = self.simulation

        async def act() -> None:
            if told:
                simulation.say(" ".join(told.split()))
            action()

        self.run(act())


def _image_patch(obj: Any, image: str, container: str) -> Mapping[str, Any]:
    template = obj["spec"].get("template")
    containers = (template or obj)["spec"]["containers"]
    if not container and len(containers) > 1:
        names = ", ".join(one["name"] for one in containers)
        raise ValueError(f"{obj['metadata']['name']} has several containers; say which one: {names}")
    change = {"spec": {"containers": [{"name": container or containers[0]["name"], "image": image}]}}
    return {"spec": {"template": change}} if template else change
