"""A cluster of real pods with the calls of the simulated one: an engine of its own, in a temporary directory.

    with homeport.real() as real:
        real.apply("statefulset.yaml")
        real.wait("sts/db", ready=3)

Time is the machine's: `advance` waits, and `wait` fails after two minutes unless told otherwise. What a real program
does cannot be decreed; calls that would have to say so with `Unsupported`.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TypeVar

from homeport.api.resources import Gvk, Resource, find
from homeport.client.http import HttpTransport
from homeport.client.informer import Informer, InformerFactory
from homeport.client.rest import RestClient
from homeport.client.settings import unix_settings
from homeport.dns.presentation import parse_type, rdata_text
from homeport.dns.records import Answer, Question, Rcode, RRType
from homeport.dns.search import candidates
from homeport.dns.upstream import Resolver, Upstream
from homeport.errors import NotFound
from homeport.node.network.settings import IPV4
from homeport.proxy.model import ProxySettings
from homeport.testing.facade import EVENTS, PODS, SETS, Cluster, Place, WaitedTooLong
from homeport.testing.hands import Unsupported
from homeport.testing.names import DOMAIN, SERVICES, SLICES, decided, reachable
from homeport.testing.real_engine import RealEngine
from homeport.testing.real_hands import RealHands
from homeport.testing.real_loop import RealLoop

__all__ = ["RealCluster"]

QUIET_SECONDS: Final = 3.0
DNS_SECONDS: Final = 15.0
NEWS_SECONDS: Final = 0.3
"""How long what the API tells may take to reach names and addresses: an empty answer is asked for once more."""

T = TypeVar("T")

_SIMULATED_ONLY: Final = {
    "snapshot": "keep what matters in claims and manifests",
    "restore": "make a new cluster",
    "fork": "make a second cluster",
    "running": "time runs by itself",
    "patience": "time runs by itself",
    "jump": "the machine's clock is not the test's",
    "program": "run a program that ends",
    "fail_image": "name an image that does not exist",
    "restore_image": "name an image that does not exist",
    "fail_requests": "restart_controllers() breaks requests under way",
    "drop_watches": "restart_controllers() breaks every watch",
    "expire_watches": "restart_controllers() breaks every watch",
    "cut_control": "nodes[…].cut() parts the node from the API",
    "heal": "nodes[…].join() connects the node again",
    "history": "real histories differ",
    "simulation": "nothing is simulated",
}
_STILL: Final = (
    *(find(kind) for kind in ("Pod", "Service", "PersistentVolumeClaim", "PersistentVolume", "ConfigMap", "Secret")),
    *(find(kind, "apps") for kind in ("StatefulSet", "Deployment", "ReplicaSet", "DaemonSet")),
    find("Job", "batch"),
)

_views: ContextVar[dict[Gvk, Informer] | None] = ContextVar("views", default=None)


class RealCluster(Cluster):
    """One engine that lives until `close`. It starts with the first call that needs it, as root or as an ordinary user.

    base     where relative paths of manifests begin, after the working directory
    options  further words of `homeport up`, such as `--image`, `app=…`
    """

    wait_seconds = 120.0

    def __init__(self, *, base: Path | None = None, options: Sequence[str] = ()) -> None:
        super().__init__(base)
        self.title = "real pods"
        self._options = tuple(options)
        self.hands = RealHands(self)
        self._loop: RealLoop | None = None
        self._engine: RealEngine | None = None
        self._transport: HttpTransport | None = None
        self._node = ""
        self._began = 0.0

    # The engine

    @property
    def engine(self) -> RealEngine:
        """The engine behind the calls."""
        if self._engine is None:
            self._engine = RealEngine(self._options)
            self._loop = RealLoop()
            self._began = self._loop.now()
            try:
                self.begin()
            except BaseException:
                self.close()
                raise
        return self._engine

    def begin(self) -> None:
        """Start the engine, at first or after it was killed, and return once its names are served."""
        engine = self.engine
        engine.up()
        self._node = engine.status()["node"]["name"]
        self._transport = HttpTransport(unix_settings(str(engine.api_socket)))
        self.run(self._ask("kubernetes", RRType.A, "default", patiently=True))

    @property
    def begun(self) -> bool:
        return self._engine is not None

    @property
    def node_name(self) -> str:
        """The name of the one node."""
        assert self.engine
        return self._node

    def __getattr__(self, name: str) -> NoReturn:
        if name in _SIMULATED_ONLY:
            raise Unsupported(f"{name} needs a simulated cluster; with real pods, {_SIMULATED_ONLY[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self.engine
        assert self._loop is not None
        return self._loop.call(coroutine)

    def close(self) -> None:
        engine, loop, transport = self._engine, self._loop, self._transport
        self._engine = self._loop = self._transport = None
        self.clients.close()
        try:
            self._end_others()
            if loop is not None:
                if transport is not None:
                    loop.call(transport.close())
                loop.stop()
        finally:
            if engine is not None:
                engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def kubeconfig(self) -> Path:
        return self.engine.kubeconfig

    @property
    def transport(self) -> HttpTransport:
        """The way to the API, for use on the cluster's loop."""
        assert self.engine
        assert self._transport is not None
        return self._transport

    def rest(self, user_agent: str) -> RestClient:
        return RestClient(self.transport, user_agent)

    def restart_controllers(self) -> None:
        """Kill the control process (API server, controllers, scheduler), and start it anew; pods go on running."""
        self.engine.kill("control")
        self.begin()

    # Time

    @property
    def now(self) -> float:
        """Seconds since the engine was started."""
        assert self.engine
        assert self._loop is not None
        return self._loop.now() - self._began

    def advance(self, *, seconds: float = 0.0, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Wait as long as it says."""
        self.run(asyncio.sleep(seconds + 60.0 * minutes + 3600.0 * hours))

    def settle(self, *, quiet: float | None = None, limit: float = 120.0) -> None:
        """Wait until no object of the usual kinds changes for `quiet` seconds (3). Raises WaitedTooLong."""

        async def watch() -> None:
            changed = asyncio.Event()
            factory = InformerFactory(self.rest("test"))
            for kind in _STILL:
                factory.informer(kind).on_change(lambda _: changed.set())
            async with asyncio.timeout(limit), _following(factory):
                while True:
                    changed.clear()
                    try:
                        async with asyncio.timeout(QUIET_SECONDS if quiet is None else quiet):
                            await changed.wait()
                    except TimeoutError:
                        return

        try:
            self.run(watch())
        except TimeoutError:
            raise WaitedTooLong(f"the cluster did not come to rest in {limit:g} s") from None

    def _until(self, place: Place, holds: Callable[[Any], bool], timeout: float) -> Any:
        resource, namespace, name = place

        async def follow() -> Any:
            changed = asyncio.Event()
            factory = InformerFactory(self.rest("test"))
            views = {one.gvk: factory.informer(one, namespace) for one in (PODS, SETS)}
            if resource.gvk not in views:
                views[resource.gvk] = factory.informer(resource, namespace)
            for view in views.values():
                view.on_change(lambda _: changed.set())
            _views.set(views)
            async with asyncio.timeout(timeout), _following(factory):
                while True:
                    changed.clear()
                    obj = views[resource.gvk].get(namespace, name)
                    if holds(obj):
                        return obj
                    await changed.wait()

        return self.run(follow())

    def _at_hand(self, resource: Resource, namespace: str | None) -> Sequence[Any]:
        views = _views.get()
        return self.objects(resource, namespace) if views is None else views[resource.gvk].list(namespace)

    # Looking around

    def objects(self, resource: Resource, namespace: str | None = None) -> list[Any]:
        return list(self.run(self.rest("test").list(resource, namespace)).items)

    def find_object(self, resource: Resource, namespace: str | None, name: str) -> Any | None:
        try:
            return self.run(self.rest("test").get(resource, namespace, name))
        except NotFound:
            return None

    def resolve(self, name: str, kind: str = "A", *, namespace: str = "default") -> tuple[str, ...]:
        wanted = parse_type(kind)
        found: list[str] = []
        for pause in (0.0, NEWS_SECONDS):
            self.run(asyncio.sleep(pause))
            answer = self.run(self._ask(name, wanted, namespace))
            found = [rdata_text(one) for one in answer.answer if wanted in {one.type, RRType.ANY}]
            if found:
                break
        return tuple(sorted(found))

    async def _ask(self, name: str, kind: int, namespace: str, *, patiently: bool = False) -> Answer:
        """Ask the cluster's DNS on its socket; `patiently`, until there is an answer that says something."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DNS_SECONDS
        while True:
            answer = await self._asked(name, kind, namespace)
            if answer is not None and (answer.answer or not patiently):
                return answer
            if loop.time() > deadline:
                raise ConnectionError(f"the cluster's DNS does not answer; see {self.engine.data / 'logs' / 'dns.log'}")
            await asyncio.sleep(0.05)  # it is starting, and nothing tells when it serves

    async def _asked(self, name: str, kind: int, namespace: str) -> Answer | None:
        endpoint = self.engine.dns()
        if endpoint is None:
            return None
        upstream = Upstream([Resolver(*endpoint)], random.Random())
        answer = None
        for full in candidates(name, namespace, DOMAIN):
            answer = await upstream.ask(Question(full, RRType(kind)))
            if answer is None or answer.rcode == Rcode.SERVFAIL:
                return None
            if answer.answer:
                break
        return answer

    def endpoints(self, service: str, *, namespace: str = "default") -> tuple[str, ...]:
        tree = self.find_object(SERVICES, namespace, service)
        settings = ProxySettings(IPV4.pods, IPV4.services, (IPV4.gateway,), node=self.node_name)
        return reachable(decided(tree, self.objects(SLICES, namespace), settings))

    def story(self) -> str:
        """Return the events with their times, and what the engine's own logs end with."""
        lines = []
        for tree in sorted(self.objects(EVENTS), key=_time):
            about = tree["involvedObject"]
            name = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
            lines.append(f"{_time(tree)}  {name} {tree.get('reason', '')}: {tree.get('message', '')}")
        return "\n".join([*lines, self.engine.log_tail()])


def _time(event: Any) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


class _following:
    """Informers that are filled within a block."""

    def __init__(self, factory: InformerFactory) -> None:
        self._factory = factory

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._factory.run())
        await self._factory.synced()

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
