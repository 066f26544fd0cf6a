"""Where a connection to one front end goes: the packet filter's rules, decided in user space. No sockets.

Source: `services-dns` 17.1, 17.2.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import Any

from homeport.proxy.balance import Balance, Picker
from homeport.proxy.model import Frontend, PortRules, Target, Via

__all__ = ["Choice", "PortState", "Way"]


class Way(Enum):
    """What happens to a client at all."""

    LEAD = "lead"
    IGNORE = "ignore"


class PortState:
    """What one Service port remembers, whichever of its addresses is used: clients, counts, whose turn it is."""

    def __init__(self, balance: Balance, rng: random.Random, now: Callable[[], float]) -> None:
        self.live: Counter[Target] = Counter()
        self.picks: Counter[Target] = Counter()
        self.balance = balance
        self._picker = Picker(balance, rng, self.live.__getitem__)
        self._clients: dict[str, tuple[Target, float]] = {}
        self._now = now

    def order(self, targets: Sequence[Target], client: str, affinity_seconds: int) -> Iterator[Target]:
        """Yield the target for a client, and others to be tried where it does not answer."""
        left = list(targets)
        while left:
            target = self._stay(left, client, affinity_seconds) or self._picker.pick(left, client)
            if affinity_seconds:
                self._clients[client] = target, self._now()
            yield target
            left.remove(target)

    def _stay(self, targets: Collection[Target], client: str, seconds: int) -> Target | None:
        if not seconds:
            return None
        known = self._clients.get(client)
        if known is None:
            return None
        target, since = known
        return target if target in targets and self._now() - since <= seconds else None

    def keep(self, listed: Collection[Target]) -> None:
        """Forget what was once given to targets that are listed no more and have nothing under way."""
        for target in [one for one in self.picks if one not in listed and not self.live[one]]:
            del self.picks[target]

    def forget(self, affinity_seconds: int) -> None:
        """Forget clients whose time is up."""
        oldest = self._now() - affinity_seconds
        for client in [client for client, (_, since) in self._clients.items() if since < oldest]:
            del self._clients[client]


class Choice:
    """The rules of one front end as they are now; `put` replaces them.

    inside  tells whether an address is a pod's or the node's own: such clients are not outside
    """

    def __init__(self, inside: Callable[[Any], bool], state: PortState, port: PortRules, frontend: Frontend) -> None:
        self._inside = inside
        self.put(state, port, frontend)

    def put(self, state: PortState, port: PortRules, frontend: Frontend) -> None:
        self._state, self._port, self._frontend = state, port, frontend

    def way(self, client: str) -> Way:
        """Return whether a client is led on or gets no answer."""
        frontend = self._frontend
        if frontend.via is Via.DROP:
            return Way.IGNORE
        if frontend.sources:
            address = ip_address(client)
            if not any(address in network for network in frontend.sources):
                return Way.IGNORE
        return Way.IGNORE if not self._set(client) else Way.LEAD

    def targets(self, client: str) -> Iterator[Target]:
        """Yield where a client goes, best first."""
        return self._state.order(self._set(client), client, self._port.affinity_seconds)

    def opened(self, target: Target) -> Callable[[], None]:
        """Count a connection; returns what counts it no more, once, however often it is called."""
        live = self._state.live
        live[target] += 1
        self._state.picks[target] += 1
        open_now = True

        def closed() -> None:
            nonlocal open_now
            if open_now:
                open_now = False
                live[target] -= 1
                if not live[target]:
                    del live[target]

        return closed

    def _set(self, client: str) -> Sequence[Target]:
        port, frontend = self._port, self._frontend
        match frontend.via:
            case Via.CLUSTER | Via.EXTERNAL:
                return port.cluster
            case Via.LOCAL:
                return port.local
            case Via.EXTERNAL_LOCAL:
                return port.cluster if self._inside(ip_address(client)) else port.local
            case _:
                return ()
