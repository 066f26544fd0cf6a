"""The balancer in user space: what the rules say, by sockets on the virtual addresses.

It serves where the packet filter is absent, and Services balanced in a way the packet filter cannot. What differs from
the packet filter: the pod sees the node as its peer; a front end that ignores its clients lets them connect and then
says nothing; addresses nobody has are refused, not ignored.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from homeport.proxy.model import Carried, Frontend, Key, PortRules, ProxySettings, ServiceRules, Via
from homeport.proxy.userspace.choice import Choice, PortState
from homeport.proxy.userspace.routes import LocalAddresses
from homeport.proxy.userspace.tcp import Connections, TcpFrontend
from homeport.proxy.userspace.udp import UdpFrontend

__all__ = ["Place", "UserspaceBalancer"]

Place: TypeAlias = tuple[str, str, int]
"""Protocol, address and port of a front end."""

_PROTOCOLS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_IP_FREEBIND: Final = 15
_IPV6_FREEBIND: Final = 78

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A front end that is served: by a listener, for a Service."""

    key: Key
    choice: Choice
    listener: TcpFrontend | UdpFrontend


class UserspaceBalancer:
    """Serves Services by sockets in this network namespace, and makes their addresses local ones.

    addresses  makes addresses local; where they are, as on the loopback interface, None
    refused    Services that could not be served as a whole, and why: the others are
    """

    def __init__(self, settings: ProxySettings, rng: random.Random, addresses: LocalAddresses | None = None) -> None:
        self._settings, self._rng, self._addresses = settings, rng, addresses
        self._rules: dict[Key, ServiceRules] = {}
        self._open: dict[Place, _Open] = {}
        self._local: dict[Key, frozenset[str]] = {}
        self._connections = Connections()
        self._states: dict[tuple[Key, str, str], PortState] = {}
        self.refused: dict[Key, str] = {}
        self.failures = self.transactions = 0

    async def claim(self) -> None:
        """Nothing listens yet, so nothing can go astray."""

    async def change(self, changes: Mapping[Key, ServiceRules | None]) -> int:
        """Serve these Services as said from now on; None: no more. Returns how many UDP flows lost their endpoint.

        Established TCP connections go on wherever they lead.
        """
        lost = 0
        for key, rules in changes.items():
            self.refused.pop(key, None)
            if rules is None:
                self._rules.pop(key, None)
            else:
                self._rules[key] = rules
        for key in changes:
            await self._close_unwanted(key)
        for key in changes:
            self._make_local(key)
            lost += await self._serve(key)
        self.transactions += bool(changes)
        return lost

    def carried(self) -> Sequence[Carried]:
        """Return what every endpoint has and was given, by Service and port. Endpoints that are gone are left out."""
        return [
            Carried(key, protocol, port, target, state.live[target], count)
            for (key, protocol, port), state in self._states.items()
            for target, count in state.picks.items()
        ]

    async def close(self) -> None:
        """Serve nothing more, and end what is under way."""
        for place in list(self._open):
            await self._open.pop(place).listener.close()
        self._rules.clear()
        for key in list(self._local):
            self._make_local(key)
        await self._connections.close()

    async def _close_unwanted(self, key: Key) -> None:
        wanted = {place for place, _, _ in self._frontends(key)}
        for place in [place for place, one in self._open.items() if one.key == key and place not in wanted]:
            await self._open.pop(place).listener.close()
        rules = self._rules.get(key)
        ports = {(port.protocol, port.name) for port in rules.ports} if rules else set()
        for state in [one for one in self._states if one[0] == key and one[1:] not in ports]:
            del self._states[state]

    def _make_local(self, key: Key) -> None:
        """Take packets to a Service's addresses as meant for here: where nobody listens, that is told at once."""
        if self._addresses is None:
            return
        rules, before = self._rules.get(key), self._local.pop(key, frozenset())
        used = {frontend.address for port in rules.ports for frontend in port.frontends} if rules else set()
        after = frozenset(map(str, {*used, *(rules.addresses if rules else ())}))
        try:
            for address in after - before:
                self._addresses.hold(address)
        except OSError as error:
            self.refused[key] = str(error)
            self.failures += 1
        for address in before - after:
            self._addresses.release(address)
        if after:
            self._local[key] = after

    async def _serve(self, key: Key) -> int:
        lost = 0
        for place, port, frontend in self._frontends(key):
            known = self._open.get(place)
            if known is not None and known.key != key:
                self.refused[key] = f"{place[0]} {place[1]}:{place[2]} is served for {'/'.join(known.key)}"
                continue
            if known is None:
                known = await self._begin(key, place, Choice(self._inside, self._state(key, port), port, frontend))
                if known is None:
                    continue
            else:
                state = self._state(key, port)
                known.choice.put(state, port, frontend)
                state.keep({*port.cluster, *port.local, *port.serving})
            if isinstance(known.listener, UdpFrontend):
                lost += known.listener.keep(port.serving)
        return lost

    async def _begin(self, key: Key, place: Place, choice: Choice) -> _Open | None:
        try:
            sock = _bind(place)
        except OSError as error:
            self.failures += 1
            self.refused[key] = f"{place[0]} {place[1]}:{place[2]}: {error.strerror}"
            _log.error("Service %s/%s is not balanced on %s %s:%d: %s", *key, *place, error.strerror)
            return None
        listener = (
            TcpFrontend(sock, choice, self._connections) if place[0] == "tcp" else await UdpFrontend.open(sock, choice)
        )
        opened = self._open[place] = _Open(key, choice, listener)
        return opened

    def _state(self, key: Key, port: PortRules) -> PortState:
        name = (key, port.protocol, port.name)
        state = self._states.get(name)
        if state is None or state.balance is not port.balance:
            now = asyncio.get_running_loop().time
            state = self._states[name] = PortState(port.balance, self._rng, now)
        return state

    def _frontends(self, key: Key) -> Iterator[tuple[Place, PortRules, Frontend]]:
        """Yield what is to be served; where a connection shall be refused nobody listens."""
        rules = self._rules.get(key)
        for port in rules.ports if rules else ():
            if port.protocol not in _PROTOCOLS:
                self.refused[key] = f"{port.protocol} is not balanced in user space"
                continue
            for frontend in port.frontends:
                if frontend.via is not Via.REJECT:
                    yield (port.protocol, str(frontend.address), frontend.port), port, frontend

    def _inside(self, address: Any) -> bool:
        return address in self._settings.node_addresses or address in self._settings.pods


def _bind(place: Place) -> socket.socket:
    protocol, address, port = place
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, _PROTOCOLS[protocol] | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock
