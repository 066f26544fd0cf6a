"""The proxy at work: Services and EndpointSlices in, one transaction per change out. No rule is decided here.

Changes that arrive while a transaction is under way go together into the next one, so a burst costs no more than the
kernel can take, and a single change waits for nothing. Nothing is programmed before both collections are known.
"""

import asyncio
import errno
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal

from homeport.api.resources import find
from homeport.client.informer import InformerFactory
from homeport.clock import Clock, parse_time
from homeport.proxy import codec
from homeport.proxy.backend import Backend, Mixed
from homeport.proxy.balance import ANNOTATION, Balance, balance_of
from homeport.proxy.conntrack import forget_stale_flows, serving_endpoints
from homeport.proxy.health import HealthServer
from homeport.proxy.kernel import Kernel, NftablesError, NftablesMissing, open_kernel
from homeport.proxy.metrics import FamilyMetrics, ProcessMetrics, render, without_local
from homeport.proxy.model import Carried, Key, ProxySettings, ServiceRules
from homeport.proxy.rules import decide, keep_places
from homeport.proxy.table import Table
from homeport.proxy.userspace.balancer import UserspaceBalancer
from homeport.proxy.userspace.routes import LocalAddresses

__all__ = ["Means", "Proxy", "ProxyStatus"]

_INDEX: Final = "proxy-service"
_PODS: Final = "proxy-pod"
RETRY_FIRST_SECONDS: Final = 0.5
RETRY_LIMIT_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """How the proxy is doing. `applied_at` is the time of the last transaction, epoch seconds; 0 before the first.

    healthy  everything known is in the kernel, or on its way there without failure
    """

    services: int = 0
    transactions: int = 0
    failures: int = 0
    flows_forgotten: int = 0
    applied_at: float = 0.0
    last_error: str = ""

    @property
    def healthy(self) -> bool:
        return self.applied_at > 0 and not self.last_error


class _Side:
    """One address family: what is decided for each Service, and what puts it into effect."""

    def __init__(self, settings: ProxySettings, backend: Backend) -> None:
        self._settings, self.backend = settings, backend
        self.rules: dict[Key, ServiceRules] = {}
        self._changes: dict[Key, ServiceRules | None] = {}

    def decide(self, key: Key, obj: Mapping[str, Any] | None, slices: Sequence[Mapping[str, Any]]) -> None:
        """Bring the rules of one Service up to date, and note what really changed."""
        rules = self._rules_of(key, obj, slices)
        if rules == self.rules.get(key):
            return
        if rules is None:
            del self.rules[key]
        else:
            self.rules[key] = rules
        self._changes[key] = rules

    def _rules_of(
        self, key: Key, obj: Mapping[str, Any] | None, slices: Sequence[Mapping[str, Any]]
    ) -> ServiceRules | None:
        version = self._settings.version
        service = None if obj is None else codec.service(obj, version)
        if service is None:
            return None
        endpoints = {port: codec.endpoints(slices, port, version) for port in service.ports}
        return keep_places(self.rules.get(key), decide(service, endpoints, self._settings))

    async def commit(self) -> tuple[list[ServiceRules], int]:
        """Put what changed into effect; return it, and how many UDP flows ended by it.

        Raises NftablesError; the changes are kept then.
        """
        ended = await self.backend.change(self._changes)
        changed = [self.rules[key] for key in self._changes if key in self.rules]
        self._changes = {}
        return changed, ended


def userspace_balancer(settings: ProxySettings) -> UserspaceBalancer:
    """Return a balancer that listens on the virtual addresses themselves."""
    carried = LocalAddresses((*settings.node_addresses, *settings.real_addresses))
    return UserspaceBalancer(settings, random.SystemRandom(), carried)


class Means(Enum):
    """What the proxy balances with."""

    AUTO = "auto"
    """The packet filter where there is nftables, else user space."""
    NFTABLES = "nftables"
    """The packet filter; user space for Services it cannot balance as they ask."""
    USERSPACE = "userspace"
    """Sockets of this process alone."""


class Proxy:
    """Balances in the network namespace it runs in.

    settings      where it stands, in each address family; the default one first
    means         what it balances with
    userspace     makes the balancer in user space for one family
    kernel        opens the packet filter
    forget_flows  deletes the UDP flows that ended up nowhere
    """

    def __init__(
        self,
        informers: InformerFactory,
        clock: Clock,
        settings: Sequence[ProxySettings],
        *,
        means: Means = Means.AUTO,
        userspace: Callable[[ProxySettings], UserspaceBalancer] = userspace_balancer,
        kernel: Callable[[], Kernel] = open_kernel,
        forget_flows: Callable[[Mapping[Any, Any]], int] = forget_stale_flows,
    ) -> None:
        self._clock, self._settings = clock, settings
        self._open, self._forget = kernel, forget_flows
        self._means, self._userspace = means, userspace
        self._at_work = means
        self._services = informers.informer(find("Service"))
        self._slices = informers.informer(
            find("EndpointSlice", "discovery.k8s.io"), indexers={_INDEX: _slice_index, _PODS: codec.pods}
        )
        self._services.on_change(self._touch_service)
        self._slices.add_handler(add=self._touch_slice, update=self._touch_both, delete=self._touch_slice)
        node = settings[0].node
        self._nodes = informers.informer(find("Node"), field_selector=f"metadata.name={node}") if node else None
        self._process = ProcessMetrics()
        self._health = HealthServer(
            [address for side in settings for address in side.node_addresses],
            clock,
            lambda: (self.status.healthy, self.status.applied_at),
            metrics=self._rendered,
            answered=self._process.answered,
            eligible=lambda: codec.eligible(self._nodes.get(None, node) if self._nodes else None),
        )
        self._metrics = [FamilyMetrics(side.version, clock.now()) for side in settings]
        self._touched: set[Key] = set()
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._sides: list[_Side] = []
        self._rules: dict[Key, ServiceRules] = {}
        self._checked: dict[Key, ServiceRules] = {}  # those a balancer from outside asks the health of
        self._settled = False
        self.status = ProxyStatus()

    @property
    def rules(self) -> Mapping[Key, ServiceRules]:
        """What is decided for each Service at present; for one of two families, in the default one."""
        return self._rules

    async def run(self) -> None:
        """Follow the API for ever; ends by cancellation. Raises NftablesMissing at once when it must have nftables."""
        kernel = self._open_kernel()
        self._at_work = Means.USERSPACE if kernel is None else Means.NFTABLES
        try:
            await self._health.start()
            self._sides = [_Side(settings, self._backend(settings, kernel)) for settings in self._settings]
            for side in self._sides:
                await side.backend.claim()
            await self._services.synced.wait()
            await self._slices.synced.wait()
            self._wake.set()
            await self._follow()
        finally:
            await self._health.close()
            for side in self._sides:
                await side.backend.close()
            if kernel is not None:
                await kernel.close()

    def _open_kernel(self) -> Kernel | None:
        if self._means is Means.USERSPACE:
            return None
        try:
            return self._open()
        except NftablesMissing as error:
            if self._means is Means.NFTABLES:
                raise
            _log.warning("balancing in user space, where pods see the node as their peer: %s", error)
            return None

    def _backend(self, settings: ProxySettings, kernel: Kernel | None) -> Backend:
        userspace = self._userspace(settings)
        return userspace if kernel is None else Mixed(Table(kernel, settings), userspace)

    async def settled(self) -> None:
        """Return once all that the informers know by now is in the kernel."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._touched and self._settled)

    async def applied(self, slices: str) -> None:
        """Return once every change of EndpointSlices up to a resourceVersion, of a slice that belongs to a Service, is
        in effect.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self._touched and self._settled and self._slices.seen(slices))

    def describe(self) -> Mapping[str, Any]:
        """Return how the proxy is, as plain JSON: what it balances with, and whether it keeps up."""
        return {
            "means": self._at_work.value,
            "services": self.status.services,
            "healthy": self.status.healthy,
            "lastError": self.status.last_error,
        }

    def carried(self) -> list[Carried]:
        """Return the connections this process joins itself."""
        return [one for side in self._sides for one in side.backend.carried()]

    async def departed(self, uid: str) -> None:
        """Return once the kernel knows that a pod terminates: no new connection is led to it while others are ready.

        For a pod no slice names it is at once; while the API does not tell, it is never.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    not self._touched
                    and self._settled
                    and all(codec.leaves(obj, uid) for obj in self._slices.by_index(_PODS, uid))
                )
            )

    async def _follow(self) -> None:
        pause = RETRY_FIRST_SECONDS
        owed: list[ServiceRules] = []  # in the kernel, but flows may still be astray
        while True:
            await self._wake.wait()
            self._wake.clear()
            keys, self._touched = self._touched, set()
            self._settled = False
            for key in keys:
                self._decide(key)
            try:
                ended = 0
                for side, metrics in zip(self._sides, self._metrics, strict=True):
                    changed, without = await self._commit(side, metrics)
                    owed, ended = owed + changed, ended + without
                forgotten = ended + await self._forget_flows(owed)
            except NftablesError as error:
                _log.error("the packet filter takes no rules; trying again in %.1f s: %s", pause, error)
                self.status = replace(self.status, failures=self._total("failures"), last_error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_LIMIT_SECONDS)
                self._wake.set()
                continue
            owed, pause = [], RETRY_FIRST_SECONDS
            self._report(len(self._rules), forgotten)
            await self._health.update(self._checked)
            self._settled = True
            async with self._changed:
                self._changed.notify_all()

    async def _commit(self, side: _Side, metrics: FamilyMetrics) -> tuple[list[ServiceRules], int]:
        began, covered = self._clock.now(), metrics.take_pending()
        try:
            found = await side.commit()
        except NftablesError:
            metrics.failed(covered)
            raise
        metrics.synced(began, self._clock.now(), covered)
        return found

    def _decide(self, key: Key) -> None:
        obj, slices = self._services.get(*key), self._slices.by_index(_INDEX, "/".join(key))
        asked = (obj["metadata"].get("annotations") or {}).get(ANNOTATION) if obj is not None else None
        if balance_of(asked) is None:
            known = ", ".join(one.value for one in Balance)
            _log.warning("Service %s/%s: %s is %r; balanced at random (known: %s)", *key, ANNOTATION, asked, known)
        for side in self._sides:
            side.decide(key, obj, slices)
        decided = next((side.rules[key] for side in self._sides if key in side.rules), None)
        _note(self._rules, key, decided)
        _note(self._checked, key, decided if decided is not None and decided.health_check_port else None)

    def _total(self, what: Literal["failures", "transactions"]) -> int:
        return sum(getattr(side.backend, what) for side in self._sides)

    def _report(self, services: int, forgotten: int) -> None:
        refused = {key: reason for side in self._sides for key, reason in side.backend.refused.items()}
        self._process.flows_forgotten += forgotten
        self.status = ProxyStatus(
            services=services,
            transactions=self._total("transactions"),
            failures=self._total("failures"),
            flows_forgotten=self.status.flows_forgotten + forgotten,
            applied_at=self._clock.now(),
            last_error="; ".join(f"{key[0]}/{key[1]}: {reason}" for key, reason in refused.items()),
        )

    async def _forget_flows(self, changed: Iterable[ServiceRules]) -> int:
        serving = serving_endpoints(changed)
        if not serving:
            return 0
        began = self._clock.now()
        try:
            forgotten = await asyncio.to_thread(self._forget, serving)
        except OSError as error:
            if error.errno not in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP):
                raise NftablesError(f"flows of departed endpoints could not be forgotten: {error}") from error
            _log.info("this kernel does not list flows, so UDP clients keep a departed endpoint for 30 s: %s", error)
            return 0
        self._process.forgetting.observe(self._clock.now() - began)
        return forgotten

    def _rendered(self) -> str:
        return render(self._metrics, self._process, [without_local(side.rules.values()) for side in self._sides])

    def _touch(self, key: Key) -> None:
        self._touched.add(key)
        if self._services.synced.is_set() and self._slices.synced.is_set():
            self._wake.set()

    def _touch_service(self, obj: Mapping[str, Any]) -> None:
        for metrics in self._metrics:
            metrics.service_changed(self._clock.now())
        self._touch((obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))

    def _touch_slice(self, obj: Mapping[str, Any]) -> None:
        key = codec.slice_service(obj)
        if key is None:
            return
        for metrics in self._metrics:
            if obj.get("addressType") == f"IPv{metrics.version}":
                metrics.endpoints_changed(self._clock.now(), _trigger(obj))
        self._touch(key)

    def _touch_both(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        before = codec.slice_service(old)
        if before is not None:
            self._touch(before)
        self._touch_slice(new)


def _note(among: dict[Key, ServiceRules], key: Key, rules: ServiceRules | None) -> None:
    """Keep the rules of a Service, or drop them."""
    if rules is None:
        among.pop(key, None)
    else:
        among[key] = rules


def _trigger(obj: Mapping[str, Any]) -> float | None:
    """Return when what a slice tells happened, epoch seconds, if it says so in a way that can be read."""
    text = (obj["metadata"].get("annotations") or {}).get("endpoints.kubernetes.io/last-change-trigger-time")
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _slice_index(obj: Mapping[str, Any]) -> list[str]:
    key = codec.slice_service(obj)
    return [] if key is None else ["/".join(key)]
