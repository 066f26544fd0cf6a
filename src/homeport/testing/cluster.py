"""A simulated cluster for ordinary tests: plain calls, no `async`. Each call lets virtual time pass as far as it says.

    cluster = SimulatedCluster(seed=7)
    cluster.apply("statefulset.yaml")
    cluster.wait("statefulset/db", ready=3)
    cluster.pods["db-2"].fail_probe("readiness")
    cluster.advance(minutes=30)
    cluster.close()

Time stands still between calls. The cluster's loop runs on the test's own thread, and only during a call, as long as
nobody else needs it: so equal calls give equal histories. Once the API is served, or the test itself runs on a loop, it
moves to a thread of its own (`pace`).
"""

import asyncio
import shutil
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from homeport.api.gates import parse_gates
from homeport.api.resources import Resource
from homeport.client.rest import RestClient
from homeport.garbage import collect_rarely
from homeport.testing.behaviour import Ending, Program, Start
from homeport.testing.facade import Cluster, Place, WaitedTooLong
from homeport.testing.faults import Rule
from homeport.testing.pace import LoopThread, running_loop
from homeport.testing.runner import LoopRunner
from homeport.testing.scratch import scratch_directory
from homeport.testing.simulated_hands import SimulatedHands
from homeport.testing.simulation import CONTROL, DNS, Simulation
from homeport.testing.snapshot import Snapshot

if TYPE_CHECKING:
    from homeport.testing.served import ServedApi

__all__ = ["SimulatedCluster", "WaitedTooLong"]

QUIET_SECONDS: Final = 60.0
RUNNING_SPEED: Final = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Always:
    """A program every start of which ends alike."""

    ending: Ending

    def __call__(self, start: Start) -> Ending:
        return self.ending


class SimulatedCluster(Cluster):
    """One cluster that lives until `close`. It begins with the first call that needs it.

    seed   where all randomness comes from: the same calls with the same seed give the same history, byte for byte
    nodes  how many nodes there are: `node-1`, `node-2`, …
    gates  feature gates that are open: `("MaxUnavailableStatefulSet=true",)`
    families  the address families of pods and Services, the default one first: `("IPv4", "IPv6")`
    base   where relative paths of manifests begin, after the working directory
    start  the moment it begins with, of whatever cluster
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        nodes: int = 2,
        gates: Sequence[str] = (),
        families: Sequence[str] = ("IPv4",),
        base: Path | None = None,
        start: Snapshot | None = None,
    ) -> None:
        super().__init__(base)
        self.seed, self._nodes, self._start = seed, nodes, start
        self.feature_gates = parse_gates(gates)
        self.families = tuple(families)
        self.title = f"seed {seed}"
        self.hands = SimulatedHands(self)
        self._directory: Path | None = None
        self._remove: weakref.finalize[..., SimulatedCluster] | None = None
        self._end_wish = weakref.finalize(self, collect_rarely())
        self._runner: LoopRunner | None = None
        self._simulation: Simulation | None = None
        self._thread: LoopThread | None = None
        self._api: ServedApi | None = None

    # The world itself

    @property
    def simulation(self) -> Simulation:
        """The cluster behind the calls, for what they do not offer."""
        if self._simulation is None:
            start, self._start = self._start, None
            self._open(start, apart=self._api is not None or running_loop() is not None)
            if self._api is not None:
                self._serve(self._api)
        assert self._simulation is not None
        return self._simulation

    def _open(self, snapshot: Snapshot | None, *, apart: bool) -> None:
        if self._directory is None:
            self._directory = scratch_directory()
            self._remove = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._runner = LoopRunner()
        made = Simulation(
            seed=self.seed,
            nodes=self._nodes,
            feature_gates=self.feature_gates,
            families=self.families,
            directory=self._directory,
            snapshot=snapshot,
        )
        if apart:
            self._thread = LoopThread(self._runner.loop)
            self._thread.call(made.__aenter__())
        else:
            self._runner.run(made.__aenter__())
        self._simulation = made

    def apart(self) -> LoopThread:
        """Move the cluster's loop to a thread of its own, where it answers whoever asks, whatever the test does."""
        simulation = self.simulation
        if self._thread is None:
            assert self._runner is not None
            simulation.check()
            if running_loop() is self._runner.loop:
                raise RuntimeError("this runs on the cluster's own loop: ask for its kubeconfig before")
            self._thread = LoopThread(self._runner.loop)
        return self._thread

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        self.simulation.check()
        if self._thread is None and running_loop() is not None:
            self.apart()
        if self._thread is not None:
            return self._thread.call(coroutine)
        assert self._runner is not None
        return self._runner.run(coroutine)

    def look(self, question: Callable[[], T]) -> T:
        """Ask something about the simulation that takes no time."""
        if self._thread is None or self._thread.is_here:
            return question()

        async def ask() -> T:
            return question()

        return self._thread.call(ask())

    def act(self, action: Callable[[], object], told: str = "") -> None:
        """Do something on the loop, in no time."""
        simulation = self.simulation

        async def act() -> None:
            if told:
                simulation.say(" ".join(told.split()))
            action()

        self.run(act())

    def _shut(self) -> None:
        """End the simulation, its loop and its thread; the address of its API stays."""
        runner, simulation, thread = self._runner, self._simulation, self._thread
        if runner is None:
            return
        try:
            if simulation is not None and thread is not None:
                try:
                    thread.call(simulation.__aexit__(None, None, None))  # watches of clients end with a word
                finally:
                    if self._api is not None:
                        thread.call(self._api.stop())
            elif simulation is not None:
                _off_loop(lambda: _end(runner, simulation))
        finally:
            self._runner = self._simulation = self._thread = None
            if thread is not None:
                thread.stop()
            _off_loop(runner.close)

    def close(self) -> None:
        try:
            self._end_others()
            self.clients.close()
            self._shut()
        finally:
            if self._api is not None:
                self._api.close()
                self._api = None
            if self._remove is not None:
                self._remove()
            self._directory = self._remove = None
            self._end_wish()

    @property
    def begun(self) -> bool:
        return self._simulation is not None

    @property
    def serves(self) -> bool:
        """Whether the API has an address of its own."""
        return self._api is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Other worlds

    def snapshot(self) -> Snapshot:
        """Return the cluster as it is now: objects, pods, files, clock, faults and randomness."""
        return self.run(self.simulation.snapshot())

    def restore(self, snapshot: Snapshot) -> None:
        """Go to a snapshot of this cluster or another one, as often as wanted.

        Pods run on; components begin anew, as after a restart. Whoever uses the kubeconfig connects again.
        """
        self._shut()
        self._start = snapshot
        assert self.simulation

    def rewind(self, snapshot: Snapshot | None) -> None:
        """Go to a snapshot, or (None) to the beginning, with the next call; clusters made from this one end."""
        self._end_others()
        self._shut()
        self._start = snapshot

    def fork(self) -> "SimulatedCluster":
        """Return an independent cluster that begins as this one is now; it ends with `with`, or with this one."""
        gates = tuple(f"{name}=true" for name in self.feature_gates)
        other = SimulatedCluster(
            seed=self.seed, nodes=self._nodes, gates=gates, families=self.families, base=self._base,
            start=self.snapshot(),
        )  # fmt: skip
        other.title = f"fork of {self.title}"
        self._others.append(other)
        return other

    # Clients of the user

    @property
    def kubeconfig(self) -> Path:
        if self._api is None:
            from homeport.testing.served import ServedApi

            self.apart()
            api = ServedApi()
            try:
                self._serve(api)
            except BaseException:
                api.close()
                raise
            self._api = api
        return self._api.kubeconfig

    def _serve(self, api: "ServedApi") -> None:
        self.apart()
        assert self._thread is not None
        self._thread.call(api.serve(self.simulation, self._thread.pace.told))

    @contextmanager
    def running(self, speed: float = RUNNING_SPEED) -> Iterator[None]:
        """Let time flow by itself within the block, `speed` virtual seconds in a real one, for clients that wait.

        with homeport.running():
            homeport.kubectl("rollout", "status", "sts/db")
        """
        self.apart()
        assert self._thread is not None
        with self._thread.flowing(speed):
            yield

    @property
    def patience(self) -> float:
        """Real seconds that clients outside have to react to what they are told before time goes on."""
        self.apart()
        assert self._thread is not None
        return self._thread.pace.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self.apart()
        assert self._thread is not None
        self._thread.pace.patience = seconds

    def rest(self, user_agent: str) -> RestClient:
        return self.simulation.client(user_agent)

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

    def settle(self, *, quiet: float | None = None, limit: float = 3600.0) -> None:
        """Let time pass until nothing changes for `quiet` seconds (60). Raises WaitedTooLong after `limit` seconds."""
        if not self.run(self.simulation.rest(QUIET_SECONDS if quiet is None else quiet, limit)):
            raise WaitedTooLong(f"the cluster did not come to rest in {limit:g} s")

    def _until(self, place: Place, holds: Callable[[Any], bool], timeout: float) -> Any:
        simulation = self.simulation

        async def follow() -> Any:
            async with asyncio.timeout(timeout):
                while True:
                    simulation.changed.clear()
                    obj = simulation.find(*place)
                    if holds(obj):
                        return obj
                    await simulation.changed.wait()

        return self.run(follow())

    # Looking around

    def objects(self, resource: Resource, namespace: str | None = None) -> list[Any]:
        simulation = self.simulation
        return self.look(lambda: simulation.objects(resource, namespace))

    def find_object(self, resource: Resource, namespace: str | None, name: str) -> Any | None:
        simulation = self.simulation
        return self.look(lambda: simulation.find(resource, namespace, name))

    def resolve(self, name: str, kind: str = "A", *, namespace: str = "default") -> tuple[str, ...]:
        simulation = self.simulation
        return self.look(lambda: simulation.names.resolve(name, kind, namespace))

    def endpoints(self, service: str, *, namespace: str = "default") -> tuple[str, ...]:
        simulation = self.simulation
        return self.look(lambda: simulation.names.endpoints(namespace, service))

    def story(self) -> str:
        simulation = self.simulation
        return self.look(simulation.story.text)

    def history(self) -> str:
        """Return a hash of every change and its time: equal for equal calls and seeds."""
        return self.look(self.simulation.digest)

    # What programs do

    def program(self, image: str, ends: Ending | Program) -> None:
        """Let the programs of an image end by themselves: always alike, or as a function of each start says.

        homeport.program("sums:1", Ending(after=30))
        homeport.program("sums:1", lambda start: Ending(5, code=1 if start.attempt == 0 else 0))
        """
        program: Program = _Always(ends) if isinstance(ends, Ending) else ends
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

        component  beginning of a component's name, such as `statefulset-controller`, or of another client's user agent;
                   empty: all but the calls of this class
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

    def kill_engine(self) -> None:
        """Kill server, controllers and scheduler with what is not durable; pods, DNS and proxy go on by themselves.

        Nobody answers the API, and the test's own calls fail with OSError, until `start_engine`.
        """
        self.run(self.simulation.kill_engine())

    def start_engine(self) -> None:
        """Start the engine again from what its store holds."""
        self.run(self.simulation.start_engine())

    def stall_store(self) -> None:
        """Let every write wait, as a disk that hangs does, until `resume_store`.

        The test's own writes end after 34 seconds with `errors.Timeout`, as anybody's do.
        """
        self.act(self.simulation.stall)

    def resume_store(self) -> None:
        """Let the writes that waited be done, in order."""
        self.act(self.simulation.go_on)

    def part(self, pod: str, other: str, *, namespace: str = "default") -> None:
        """Part two pods from each other, until `heal`. They are ready while they hear half of their peers."""
        self.act(lambda: self.simulation.part(namespace, pod, other))

    def reached(self, pod: str, name: str, *, namespace: str = "default") -> tuple[str, ...]:
        """Return the pods a connection from a pod to a name or address may lead to: `namespace/name`, in order."""
        return self.look(lambda: self.simulation.reach.reached(namespace, pod, name))

    def fail_names(self) -> None:
        """Let DNS answer SERVFAIL (`resolve` raises ServerFailure) until `restore_names`."""
        self.act(self.simulation.fail_names)

    def freeze_names(self) -> None:
        """Let DNS answer with what it knows now, however stale, until `restore_names`."""
        self.act(lambda: self.simulation.cut(DNS))

    def restore_names(self) -> None:
        """Let DNS answer again, and hear of changes."""
        self.act(lambda: self.simulation.fail_names(fails=False))
        self.act(lambda: self.simulation.join(DNS))

    def heal(self) -> None:
        """Lift every rule about requests and every partition."""
        self.act(self.simulation.faults.clear, "every fault of the API is lifted")
        self.act(self.simulation.reach.reunite)

    def jump(self, *, seconds: float) -> None:
        """Set the cluster's wall clocks forward or back; no timer notices."""
        self.act(lambda: self.simulation.jump(seconds))


def _end(runner: LoopRunner, simulation: Simulation) -> None:
    """End a simulation with its loop, which nobody runs now, and whatever else there is on it.

    Every task is cancelled where it waits, at once: from the outside in, the inner ones would go on for some turns.
    """
    for task in asyncio.all_tasks(runner.loop):
        task.cancel()
    runner.run(simulation.__aexit__(None, None, None))


def _off_loop(action: Callable[[], object]) -> None:
    """Do something that runs a loop, on a thread that runs none."""
    if running_loop() is None:
        action()
        return
    failures: list[BaseException] = []

    def apart() -> None:
        try:
            action()
        except BaseException as error:  # raised again below, on the thread that asked
            failures.append(error)

    thread = threading.Thread(target=apart)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
