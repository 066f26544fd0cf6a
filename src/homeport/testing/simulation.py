"""A whole cluster in one process and in virtual time: the real server, controllers, scheduler, node agents, DNS and
proxy rules, on a store in memory and on nodes whose programs are only timers.

    async def scenario() -> None:
        async with Simulation(seed=7) as simulation:
            await simulation.client("test").create(STATEFUL_SETS, manifest)
            await asyncio.sleep(60)                 # a virtual minute

    run_simulated(scenario)

The same seed gives the same history, byte for byte. Whatever goes wrong is told with methods: `crash`, `cut`, …
"""

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import msgspec

from homeport.api.exchange import User
from homeport.api.resources import Resource, find
from homeport.client.informer import InformerFactory
from homeport.client.rest import RestClient
from homeport.controllers.roster import Settings as ControllerSettings
from homeport.controllers.roster import controllers
from homeport.controllers.volumes.directories import LocalDirectories
from homeport.controllers.volumes.provisioner import class_body
from homeport.errors import ApiError
from homeport.node.network.settings import IPV4, IPV6, Family
from homeport.node.pod import ProbeKind
from homeport.node.runtime.contract import ContainerSpec, ImageError
from homeport.node.stats import summary
from homeport.scheduler.controller import Scheduler
from homeport.server.app import Server
from homeport.server.settings import Settings
from homeport.store.contract import Event
from homeport.testing.behaviour import Behaviours, Program
from homeport.testing.faults import Faults, FaultySource, FaultyTransport
from homeport.testing.files import read_tree, write_tree
from homeport.testing.gate import Gate
from homeport.testing.loop import VirtualClock, VirtualLoop
from homeport.testing.machine import Machine
from homeport.testing.names import Names
from homeport.testing.reach import Reach
from homeport.testing.recorded_store import RecordedStore, digest
from homeport.testing.scratch import scratch_directory
from homeport.testing.signing import signing_key
from homeport.testing.snapshot import Snapshot, relocated
from homeport.testing.story import Moment, Story, is_heartbeat

__all__ = [
    "ADMIN",
    "CONTROL",
    "DNS",
    "MANAGER",
    "PROXY",
    "Broken",
    "Simulation",
    "run_simulated",
]

ADMIN: Final = User("admin", groups=("system:masters", "system:authenticated"))
CONTROL: Final = "control"
"""The party of controllers and scheduler; nodes are parties by their own names."""

MANAGER: Final = "kube-controller-manager"
"""The user agent of what controllers and scheduler watch with."""

DNS: Final = "dns"
PROXY: Final = "proxy"
"""The parties of the DNS server and of the proxy's rules."""

STORAGE_CLASSES: Final = find("StorageClass", "storage.k8s.io")
NODES: Final = find("Node")
PODS: Final = find("Pod")
ACCOUNTS: Final = find("ServiceAccount")

_decode: Final = msgspec.json.Decoder().decode
T = TypeVar("T")
Started = Callable[[str, ContainerSpec], None]


RANGES: Final[Mapping[str, Family]] = {"IPv4": IPV4, "IPv6": IPV6}
"""Where a simulated cluster's addresses come from."""


class Broken(Exception):
    """Something of the cluster ended that never should, or asks for what cannot be."""


class Simulation:
    """Starts with `async with`, on a virtual loop; everything ends with the block.

    seed       where all randomness comes from
    feature_gates  names of `homeport.api.gates.GATES` that are open
    families   the address families of pods and Services, the default one first
    nodes      how many nodes there are: `node-1`, `node-2`, …; a snapshot knows better
    directory  where the nodes keep their files; a temporary one when not given
    snapshot   what to begin from, of whatever simulation
    on_change  called with every change of the store, in order
    on_start   called with the node's name and the container whenever a container starts
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        nodes: int = 2,
        feature_gates: Iterable[str] = (),
        families: Sequence[str] = ("IPv4",),
        directory: Path | None = None,
        snapshot: Snapshot | None = None,
        on_change: Callable[[Event], None] = lambda event: None,
        on_start: Started = lambda node, spec: None,
    ) -> None:
        self.rng = random.Random(seed)
        self.feature_gates = frozenset(feature_gates)
        self.ranges = tuple(RANGES[family] for family in families)
        self._temporary = directory is None
        self.directory = directory or scratch_directory()
        if snapshot is not None:
            snapshot = relocated(snapshot, self.directory)
            nodes = len(snapshot.machines)
            self.rng.setstate(snapshot.random_state)
        self._snapshot = snapshot
        self._elapsed = snapshot.elapsed if snapshot is not None else 0.0
        self.clock = VirtualClock(snapshot.now) if snapshot is not None else VirtualClock()
        self.story = Story(snapshot.moments if snapshot is not None else ())
        self.faults = Faults(self.rng)
        self.reach = Reach(self)
        self.behaviours = Behaviours(
            self.clock, self._probed, hears=self.reach.hears_enough,
            by_pod=dict(snapshot.behaviours) if snapshot is not None else {},
            programs=dict(snapshot.programs) if snapshot is not None else {},
        )  # fmt: skip
        self.changed = asyncio.Event()
        """Set with every change that is no heartbeat; whoever waits clears it."""
        self.last_change = 0.0
        self._on_change, self._on_start = on_change, on_start
        self.store = RecordedStore(self._told, snapshot.store if snapshot is not None else None)
        self.server = self._made_server()
        self._transport = Gate(ADMIN)
        self._sharing = Gate(ADMIN, shared=True)
        self.machines = {
            machine.name: machine
            for machine in (
                Machine(
                    number, self.directory, self._party(f"node-{number}", "kubelet"),
                    self._source(f"node-{number}", "kubelet"), self.clock, self.behaviours, self.rng, self._on_start,
                    self.ranges,
                )
                for number in range(1, nodes + 1)
            )
        }  # fmt: skip
        self._control: list[asyncio.Task[None]] = []
        self._watching: list[asyncio.Task[None]] = []
        self.copies: dict[str, InformerFactory] = {}
        """What parties know, by party: `control`, `dns`, `proxy`."""

    # The cluster itself

    @property
    def node_socket(self) -> Path:
        """Where the server looks for logs, commands and streams of pods; nobody listens there unless told to."""
        return self.directory / "node.sock"

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning, snapshots included."""
        return self._elapsed + asyncio.get_running_loop().time()

    def client(self, user_agent: str) -> RestClient:
        """Return a client that no fault touches."""
        return RestClient(self._transport, user_agent)

    def _party(self, party: str, user_agent: str) -> RestClient:
        return RestClient(FaultyTransport(self._sharing, self.faults, party), user_agent)

    def _informers(self, party: str, user_agent: str) -> InformerFactory:
        return InformerFactory(self._party(party, user_agent), self.rng, source=self._source(party, user_agent))

    def _source(self, party: str, user_agent: str) -> FaultySource:
        return FaultySource(self._sharing.feed, self.faults, party, user_agent)

    def watching(self, party: str = "watching") -> InformerFactory:
        """Return informers of one's own, to `start`; faults of the party reach them."""
        return self._informers(party, party)

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run something more until the simulation ends."""
        self._watching.append(asyncio.create_task(coroutine, name=name))

    async def __aenter__(self) -> "Simulation":
        await self._start_server()
        if self._snapshot is None:
            await self.client("homeport-engine").create(STORAGE_CLASSES, class_body())
        else:
            write_tree(self.directory, self._snapshot.files)
        dns, proxy = self.watching(DNS), self.watching(PROXY)
        self.copies |= {DNS: dns, PROXY: proxy}
        self.names = Names(dns, proxy, self.clock, self.rng, "node-1", self.ranges)
        self.start(dns.run(), "dns")
        self.start(proxy.run(), "proxy")
        self.start(self.names.feed.run(), "dns-feed")
        await dns.synced()
        await proxy.synced()
        if self._snapshot is not None:
            self.faults.resume(self._snapshot.faults)  # frozen names are those of the snapshot
        self.start_control()
        for number, machine in enumerate(self.machines.values()):
            saved = self._snapshot.machines[number] if self._snapshot is not None else None
            if saved is not None:
                machine.resume(saved)
            if saved is None or saved.serving:
                machine.start()
        while self._snapshot is None and self.find(ACCOUNTS, "default", "default") is None:
            self.changed.clear()
            await self.changed.wait()  # until then no pod can be made
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            agents = [machine.serving for machine in self.machines.values() if machine.serving is not None]
            await _end([*agents, *self._control, *self._watching])  # all at once: nobody goes on meanwhile
            self.store.go_on()
            await self.server.stop()
            await self.store.close()
        finally:
            if self._temporary:
                shutil.rmtree(self.directory, ignore_errors=True)

    def _made_server(self) -> Server:
        settings = Settings(
            service_cidrs=tuple(ranges.services for ranges in self.ranges),
            advertise=(str(self.ranges[0].gateway), 6443),
            node_socket=str(self.node_socket),
            feature_gates=self.feature_gates,
        )
        return Server(self.store, self.clock, self.rng, settings, token_key=signing_key, summaries=self._summaries)

    async def _start_server(self) -> None:
        await self.server.start(self._snapshot.states if self._snapshot is not None else {})
        for gate in (self._transport, self._sharing):
            gate.open(self.server.handle, self.server.feeds.open)

    @property
    def serving(self) -> bool:
        """Whether the API server is there."""
        return self.server.ready

    def start_control(self) -> None:
        """Start controllers and scheduler, with nothing but what the API knows."""
        informers = self.copies[CONTROL] = self._informers(CONTROL, MANAGER)
        settings = ControllerSettings(
            "ca\n",
            LocalDirectories(self.directory / "volumes"),
            feature_gates=self.feature_gates,
            balancer_pools=[family.balancers for family in self.ranges],
        )
        roster = controllers(lambda name: self._party(CONTROL, name), self.clock, informers, settings)
        scheduler = Scheduler(self._party(CONTROL, "default-scheduler"), self.clock, informers, self.rng)
        self._control = [
            asyncio.create_task(part.run(), name=type(part).__name__) for part in (informers, *roster, scheduler)
        ]

    async def kill_control(self) -> None:
        """End controllers and scheduler as a crash would, between any two steps of theirs."""
        tasks, self._control = self._control, []
        await _end(tasks)

    def check(self) -> None:
        """Raise what a component ended with, if one did: none ever should. Raises Broken or the component's error."""
        for machine in self.machines.values():
            machine.check()
        for task in (*self._control, *self._watching):
            if task.done():
                task.result()
                if task in self._control:
                    raise Broken(f"{task.get_name()} ended")

    async def rest(self, quiet: float = 60.0, limit: float = 3600.0) -> bool:
        """Let time pass until nothing but heartbeats was written for `quiet` seconds; False when `limit` came first."""
        until = self.now + limit
        self.last_change = self.now  # what is under way has as long to show
        while (wait := self.last_change + quiet - self.now) > 1e-6:
            if self.now + wait > until:
                return False
            await asyncio.sleep(wait)
            self.check()
        return True

    async def snapshot(self) -> Snapshot:
        """Return the cluster as it is now; nothing moves meanwhile."""
        return Snapshot(
            self.store.save(),
            tuple(machine.save() for machine in self.machines.values()),
            dict(self.behaviours.by_pod),
            dict(self.behaviours.programs),
            self.faults.save(),
            self.rng.getstate(),
            self.clock.now(),
            self.now,
            tuple(self.story.moments),
            str(self.directory),
            read_tree(self.directory),
            self.server.states(),
        )

    def digest(self) -> str:
        """Return a hash of all that was ever written, and when: equal histories have equal ones."""
        return digest(self.story.changes(), str(self.directory))

    def objects(self, resource: Resource, namespace: str | None = None) -> list[Any]:
        """Return the objects of a kind as they are stored now, at once, in the order of their names."""
        group = f"{resource.group}/" if resource.group else ""
        place = f"{namespace}/" if namespace and resource.namespaced else ""
        entries = self.store.entries(f"/registry/{group}{resource.plural}/{place}")
        return [with_version(_decode(entry.value), entry.revision) for entry in entries]

    def find(self, resource: Resource, namespace: str | None, name: str) -> Any | None:
        """Return one object as it is stored now, at once."""
        group = f"{resource.group}/" if resource.group else ""
        place = f"{namespace}/" if namespace and resource.namespaced else ""
        entry = self.store.current(f"/registry/{group}{resource.plural}/{place}{name}")
        return with_version(_decode(entry.value), entry.revision) if entry is not None else None

    def _told(self, events: Sequence[Event]) -> None:
        now = self.now
        for event in events:
            self.story.moments.append(Moment(now, event))
            self._on_change(event)
            if not is_heartbeat(event):
                self.last_change = now
                self.changed.set()

    def _probed(self, namespace: str, name: str, container: str) -> bool:
        pod = self.find(PODS, namespace, name)
        found = [one for one in (pod or {}).get("spec", {}).get("containers", ()) if one["name"] == container]
        return any("readinessProbe" in one or "startupProbe" in one for one in found)

    async def _summaries(self) -> list[Any]:
        """Ask every node that serves and can be reached what it uses, as the API server does."""
        return [
            await summary(machine.name, machine.runtime, self.clock, machine.usage)
            for machine in self.machines.values()
            if machine.serving is not None and not self.faults.is_cut(machine.name)
        ]

    def use(self, namespace: str, pod: str, cpu: int, memory: int, *, container: str = "") -> None:
        """Let containers of a pod of this name use so much from now on: thousandths of a processor, and bytes."""
        self.behaviours.use(namespace, pod, container, cpu, memory)
        for machine in self.machines.values():
            for spec in machine.runtime.specs():
                labels = spec.labels
                if (labels["pod-namespace"], labels["pod-name"]) == (namespace, pod) and container in (
                    "",
                    labels["container"],
                ):
                    machine.runtime.set_load(spec.id, cpu, memory)
        self.say(f"{pod} uses {cpu}m of processor time and {memory >> 20}Mi of memory from now on")

    # What goes wrong

    def say(self, text: str) -> None:
        """Note in the story what was done."""
        self.story.say(self.now, text)

    async def crash(self, namespace: str, pod: str, code: int = 1, *, container: str = "", oom: bool = False) -> bool:
        """Let the containers of a pod (or one of them) end; returns whether one was running."""
        found = False
        for machine in self.machines.values():
            for spec in machine.runtime.specs():
                labels = spec.labels
                if (labels["pod-namespace"], labels["pod-name"]) != (namespace, pod):
                    continue
                if container in ("", labels["container"]) and machine.runtime.is_running(spec.id):
                    found = True
                    machine.runtime.kill(spec.id, 137 if oom else code, out_of_memory=oom)
        self.say(f"{pod} {'runs out of memory' if oom else f'crashes with exit code {code}'}")
        return found

    def fail_probe(self, namespace: str, pod: str, kind: ProbeKind, *, fails: bool = True) -> None:
        """Let the probes of one kind of a pod of this name fail from now on, or succeed again."""
        before = self.behaviours.of(namespace, pod)
        failing = before.failing | {kind} if fails else before.failing - {kind}
        self.behaviours.set(namespace, pod, replace(before, failing=failing))
        self.say(f"{kind.value.lower()} probes of {pod} {'fail' if fails else 'succeed'} from now on")

    def slow_start(self, namespace: str, pod: str, seconds: float) -> None:
        """Let programs of a pod of this name take so long to come up, from their next start on."""
        self.behaviours.set(namespace, pod, replace(self.behaviours.of(namespace, pod), slow_seconds=seconds))
        self.say(f"{pod} takes {seconds:g} s to start from now on")

    def fail_image(self, reference: str, *, fails: bool = True) -> None:
        """Let an image be impossible to pull, or possible again."""
        for machine in self.machines.values():
            machine.images.failing.pop(reference, None)
            if fails:
                machine.images.present.discard(reference)
                machine.images.failing[reference] = ImageError("ErrImagePull", f'"{reference}": not found')
        self.say(f"image {reference} {'cannot' if fails else 'can'} be pulled")

    def set_program(self, image: str, program: Program) -> None:
        """Let the programs of an image end as told, from their next start on."""
        self.behaviours.programs[image] = program
        self.say(f"programs of {image} end by themselves from now on")

    async def lose_node(self, name: str) -> None:
        """Take the power from a node: its agent and all its containers end at once."""
        self.say(f"{name} loses power")
        await self.machines[name].lose_power()

    def return_node(self, name: str) -> None:
        """Start a node's agent again."""
        self.say(f"{name} starts")
        self.machines[name].start()

    async def kill_agent(self, name: str) -> None:
        """End a node's agent; its pods go on running."""
        self.say(f"the agent of {name} is killed")
        await self.machines[name].kill()

    def cut(self, party: str) -> None:
        """Part a node (or `control`) from the server; its pods go on running."""
        self.say(f"{party} is cut off")
        self.faults.cut(party)

    def join(self, party: str) -> None:
        """Let a party reach the server again."""
        self.say(f"{party} is connected again")
        self.faults.join(party)

    async def kill_engine(self) -> None:
        """End the server, controllers and scheduler as `kill -9` does; what was not durable is lost.

        Nodes, DNS and proxy go on with what they know. Nothing answers until `start_engine`.
        """
        if not self.serving:
            return
        self.say("the engine is killed")
        self.store.die()
        self._transport.shut()
        self._sharing.shut()
        self.faults.drop_watches()
        await self.kill_control()
        await self.server.stop()

    async def start_engine(self) -> None:
        """Start server, controllers and scheduler anew from what was durable, after `kill_engine`."""
        if self.serving:
            return
        self.say("the engine starts")
        self.store = RecordedStore(self._told, self.store.save())
        self.server = self._made_server()
        await self._start_server()
        self.start_control()

    def stall(self) -> None:
        """Let every write wait, as a disk that hangs does, until `go_on`; reads are answered."""
        self.say("the store stalls: writes wait")
        self.store.stall()

    def go_on(self) -> None:
        """End a stall: what waited is done, in order."""
        self.say("the store goes on")
        self.store.go_on()

    def part(self, namespace: str, pod: str, other: str) -> None:
        """Part two pods of a namespace from each other; both go on reaching everything else.

        A simulated program is ready only while it hears at least half of the other running pods of its controller.
        """
        self.say(f"{pod} and {other} are parted from each other")
        self.reach.part(f"{namespace}/{pod}", f"{namespace}/{other}")

    def reunite(self) -> None:
        """Lift every partition between pods."""
        self.say("pods reach each other again")
        self.reach.reunite()

    def fail_names(self, *, fails: bool = True) -> None:
        """Let the DNS server answer every question with SERVFAIL, or answer again."""
        self.say(f"DNS {'answers SERVFAIL' if fails else 'answers again'}")
        self.names.failing = fails

    def jump(self, seconds: float) -> None:
        """Set every clock of the cluster forward or back, as a correction of wall time does; no timer notices."""
        self.say(f"clocks jump by {seconds:+g} s")
        self.clock.epoch += seconds


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks in order and see them out. Raises what one ended with other than its cancellation."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, ApiError):
            raise error


def with_version(tree: Any, revision: int) -> Any:
    """Give a stored object the version its store gave it."""
    tree["metadata"]["resourceVersion"] = str(revision)
    return tree


def run_simulated(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` to its end on a fresh virtual loop without threads, so that it repeats itself. Raises Deadlock."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(threads=False)) as runner:
        return runner.run(main())
