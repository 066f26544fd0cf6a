"""The proxy at work: Services and EndpointSlices in, one transaction per change out. No rule is decided here.

Changes that arrive while a transaction is under way go together into the next one, so a burst costs no more than the
kernel can take, and a single change waits for nothing. Nothing is programmed before both collections are known.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.informer import InformerFactory
from homeport.clock import Clock
from homeport.proxy import codec, nftables
from homeport.proxy.conntrack import forget_stale_flows, serving_endpoints
from homeport.proxy.health import HealthServer
from homeport.proxy.kernel import Kernel, NftablesError, open_kernel
from homeport.proxy.model import Key, ProxySettings, ServiceRules
from homeport.proxy.rules import decide, keep_places
from homeport.proxy.table import Table

__all__ = ["Proxy", "ProxyStatus"]

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


class Proxy:
    """Programs the packet filter of the network namespace it runs in.

    `kernel` opens the packet filter; `forget_flows` deletes the UDP flows that ended up nowhere.
    """

    def __init__(
        self,
        informers: InformerFactory,
        clock: Clock,
        settings: ProxySettings,
        *,
        kernel: Callable[[], Kernel] = open_kernel,
        forget_flows: Callable[[Mapping[Any, Any]], int] = forget_stale_flows,
    ) -> None:
        self._clock, self._settings = clock, settings
        self._open, self._forget = kernel, forget_flows
        self._services = informers.informer(find("Service"))
        self._slices = informers.informer(
            find("EndpointSlice", "discovery.k8s.io"), indexers={_INDEX: _slice_index, _PODS: codec.pods}
        )
        self._services.on_change(
            lambda obj: self._touch((obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        )
        self._slices.add_handler(add=self._touch_slice, update=self._touch_both, delete=self._touch_slice)
        self._health = HealthServer(
            settings.node_addresses, clock, lambda: (self.status.healthy, self.status.applied_at)
        )
        self._touched: set[Key] = set()
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._rules: dict[Key, ServiceRules] = {}
        self._settled = False
        self.status = ProxyStatus()

    @property
    def rules(self) -> Mapping[Key, ServiceRules]:
        """What is decided for each Service at present."""
        return self._rules

    async def run(self) -> None:
        """Follow the API for ever; ends by cancellation. Raises NftablesMissing at once without nftables."""
        kernel = self._open()
        try:
            await self._health.start()
            table = Table(kernel, self._settings)
            await table.claim()
            await self._services.synced.wait()
            await self._slices.synced.wait()
            self._wake.set()
            await self._follow(table)
        finally:
            await self._health.close()
            await kernel.close()

    async def settled(self) -> None:
        """Return once all that the informers know by now is in the kernel."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._touched and self._settled)

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

    async def _follow(self, table: Table) -> None:
        pause = RETRY_FIRST_SECONDS
        changes: dict[Key, nftables.Compiled | None] = {}
        while True:
            await self._wake.wait()
            self._wake.clear()
            keys, self._touched = self._touched, set()
            self._settled = False
            changes |= self._decide(keys)
            try:
                await table.change(changes)
                forgotten = await self._forget_flows(changes)
            except NftablesError as error:
                _log.error("the packet filter takes no rules; trying again in %.1f s: %s", pause, error)
                self.status = replace(self.status, failures=table.failures, last_error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_LIMIT_SECONDS)
                self._wake.set()
                continue
            changes, pause = {}, RETRY_FIRST_SECONDS
            self._report(table, forgotten)
            await self._health.update(self._rules)
            self._settled = True
            async with self._changed:
                self._changed.notify_all()

    def _report(self, table: Table, forgotten: int) -> None:
        self.status = ProxyStatus(
            services=len(self._rules),
            transactions=table.transactions,
            failures=table.failures,
            flows_forgotten=self.status.flows_forgotten + forgotten,
            applied_at=self._clock.now(),
            last_error="; ".join(f"{key[0]}/{key[1]}: {reason}" for key, reason in table.refused.items()),
        )

    def _decide(self, keys: Iterable[Key]) -> dict[Key, nftables.Compiled | None]:
        """Bring the rules up to date and return what really changed."""
        changes: dict[Key, nftables.Compiled | None] = {}
        for key in keys:
            rules = self._rules_of(key)
            if rules == self._rules.get(key):
                continue
            if rules is None:
                del self._rules[key]
            else:
                self._rules[key] = rules
            changes[key] = None if rules is None else nftables.compile_service(rules)
        return changes

    def _rules_of(self, key: Key) -> ServiceRules | None:
        obj = self._services.get(*key)
        service = None if obj is None else codec.service(obj)
        if service is None:
            return None
        slices = self._slices.by_index(_INDEX, "/".join(key))
        endpoints = {port: codec.endpoints(slices, port) for port in service.ports}
        return keep_places(self._rules.get(key), decide(service, endpoints, self._settings))

    async def _forget_flows(self, changed: Iterable[Key]) -> int:
        serving = serving_endpoints(self._rules[key] for key in changed if key in self._rules)
        if not serving:
            return 0
        try:
            return await asyncio.to_thread(self._forget, serving)
        except OSError as error:
            if error.errno not in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP):
                raise NftablesError(f"flows of departed endpoints could not be forgotten: {error}") from error
            _log.info("this kernel does not list flows, so UDP clients keep a departed endpoint for 30 s: %s", error)
            return 0

    def _touch(self, key: Key) -> None:
        self._touched.add(key)
        if self._services.synced.is_set() and self._slices.synced.is_set():
            self._wake.set()

    def _touch_slice(self, obj: Mapping[str, Any]) -> None:
        key = codec.slice_service(obj)
        if key is not None:
            self._touch(key)

    def _touch_both(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self._touch_slice(old)
        self._touch_slice(new)


def _slice_index(obj: Mapping[str, Any]) -> list[str]:
    key = codec.slice_service(obj)
    return [] if key is None else ["/".join(key)]
