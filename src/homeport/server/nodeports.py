"""The node ports of one write: which a Service asks for, which it gets, which it gives up (services-dns 3.2).

`Claim` takes ports for a write under way, `Rehearsal` says what a dry run is told of them; both are given back
together.
"""

from collections.abc import Callable
from typing import Final, Protocol

from homeport.api import services as service_rules
from homeport.server import failures
from homeport.server.objects import Tree
from homeport.server.pools import Full, OutOfRange, PortPool, Taken

__all__ = ["Claim", "Ports", "Refuse", "Rehearsal", "give", "give_health_port", "held"]

Refuse = Callable[[str, int, str], Exception]
"""Makes the refusal of one number: its path, the number, why."""

ALREADY: Final = "provided port is already allocated"
_GUESS_FROM: Final = 32768
"""A dry run's first guess is the port after this one, which lies beyond the usual range."""


class Ports(Protocol):
    """Where a write's ports come from."""

    def take(self, port: int) -> None:
        """Take one port. Raises Taken, OutOfRange."""

    def pick(self) -> int:
        """Take any port. Raises Full."""

    def explain(self, error: Exception) -> str:
        """Return upstream's words for a refusal of `take`."""


class Claim:
    """Takes ports from a pool, and remembers which."""

    def __init__(self, pool: PortPool) -> None:
        self._pool = pool
        self.taken: list[int] = []

    def take(self, port: int) -> None:
        self._pool.take(port)
        self.taken.append(port)

    def pick(self) -> int:
        port = self._pool.pick()
        self.taken.append(port)
        return port

    def explain(self, error: Exception) -> str:
        if isinstance(error, Taken):
            return ALREADY
        first, last = self._pool.first, self._pool.last
        return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"


class Rehearsal(Claim):
    """Takes nothing: a port asked for is refused only where somebody has it, one to be chosen is a guess."""

    def take(self, port: int) -> None:
        if port in self._pool or port in self.taken:
            raise Taken(port)
        self.taken.append(port)

    def pick(self) -> int:
        port = max(self.taken, default=_GUESS_FROM) + 1
        self.taken.append(port)
        return port


def held(spec: Tree) -> list[int]:
    """Return the node ports of a Service's ports, without its health check port."""
    return [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]


def give(spec: Tree, before: Tree | None, ports: Ports, refuse: Refuse) -> None:
    """Give every port of a Service that uses node ports what it asks for or lacks, in place.

    before  the stored Service's spec, or None on a create. Raises what `refuse` makes, ApiError, InternalError.
    """
    if spec.get("type") not in ("NodePort", "LoadBalancer"):
        return
    automatic = service_rules.wants_node_ports(spec)
    if before is None:
        _give_first(spec.get("ports") or [], automatic, ports, refuse)
    else:
        _give_again(spec.get("ports") or [], held(before), automatic, ports, refuse)


def _give_first(entries: list[Tree], automatic: bool, ports: Ports, refuse: Refuse) -> None:
    """Entries of one port number share one node port: the first that any of them asks for, or else any."""
    shared: dict[int, int] = {}
    for index, entry in enumerate(entries):
        asked, number = entry.get("nodePort") or 0, entry["port"]
        if not asked and not automatic:
            continue
        if number in shared:
            if asked and asked != shared[number]:
                _take(ports, index, asked, refuse)
            entry["nodePort"] = asked or shared[number]
            continue
        wanted = next((other["nodePort"] for other in entries if other["port"] == number and other.get("nodePort")), 0)
        if wanted:
            _take(ports, index, wanted, refuse)
        entry["nodePort"] = shared[number] = wanted or _pick(ports)


def _give_again(entries: list[Tree], known: list[int], automatic: bool, ports: Ports, refuse: Refuse) -> None:
    """Entries keep what they have, share what they name, and get one of their own otherwise."""
    mine: set[int] = set(known)
    seen: set[tuple[str, int]] = set()
    for index, entry in enumerate(entries):
        asked = entry.get("nodePort") or 0
        if not asked and not automatic:
            continue
        if not asked:
            entry["nodePort"] = _pick(ports)
        elif asked not in mine:
            _take(ports, index, asked, refuse)
            mine.add(asked)
        key = entry.get("protocol", ""), entry["nodePort"]
        if key in seen:
            raise failures.plain(f"duplicate nodePort: {{{key[0]} {key[1]}}}")
        seen.add(key)


def give_health_port(spec: Tree, before: Tree | None, ports: Ports) -> None:
    """Give a Service that begins to need it a health check port. Raises InternalError."""
    if not service_rules.wants_health_check_port(spec):
        return
    if before is not None and service_rules.wants_health_check_port(before):
        return  # it has one; a change of it is for validation to refuse
    if number := spec.get("healthCheckNodePort"):
        try:
            ports.take(number)
        except (Taken, OutOfRange) as error:
            why = f"failed to allocate requested HealthCheck NodePort {number}: {ports.explain(error)}"
            raise failures.internal(why) from None
        return
    try:
        spec["healthCheckNodePort"] = ports.pick()
    except Full:
        raise failures.internal("failed to allocate a HealthCheck NodePort 0: range is full") from None


def _take(ports: Ports, index: int, number: int, refuse: Refuse) -> None:
    try:
        ports.take(number)
    except (Taken, OutOfRange) as error:
        raise refuse(f"spec.ports[{index}].nodePort", number, ports.explain(error)) from None


def _pick(ports: Ports) -> int:
    try:
        return ports.pick()
    except Full:
        raise failures.internal("failed to allocate a nodePort: range is full") from None
