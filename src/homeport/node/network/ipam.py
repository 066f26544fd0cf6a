"""Addresses for sandboxes: a pure pool, and the journal that lets it survive the agent.

An address given back is the last to be given out again: the pool walks its range round and round, so peers, name
caches and connection tracking have forgotten an address long before somebody else gets it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from homeport.node.network.settings import Address, Network

__all__ = ["AddressPool", "LeaseJournal", "PoolExhausted", "PoolState", "replay"]


class PoolExhausted(Exception):
    """Every address of the range is leased."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """What must outlive the process: leases (sandbox id → address) and the address given out last."""

    leases: Mapping[str, Address]
    last: Address | None = None


class AddressPool:
    """Leases addresses of `network`, each to one sandbox; network, broadcast and `reserved` addresses stay out."""

    def __init__(self, network: Network, reserved: Iterable[Address], state: PoolState) -> None:
        self._make: type[Address] = IPv4Address if network.version == 4 else IPv6Address
        self._first = int(network.network_address)
        self._size = network.num_addresses
        edges = {self._first, self._first + self._size - 1}
        self._barred = {int(address) for address in reserved} | edges
        self._leases = {sandbox: int(address) for sandbox, address in state.leases.items() if address in network}
        self._taken = set(self._leases.values())
        self._last = int(state.last) if state.last is not None and state.last in network else self._first

    @property
    def leases(self) -> dict[str, Address]:
        """Sandbox id → address."""
        return {sandbox: self._make(value) for sandbox, value in self._leases.items()}

    @property
    def state(self) -> PoolState:
        return PoolState(self.leases, self._make(self._last))

    def acquire(self, sandbox_id: str) -> Address:
        """Return the sandbox's address, leasing the next free one at first. Raises PoolExhausted."""
        held = self._leases.get(sandbox_id)
        if held is not None:
            return self._make(held)
        for value in self._candidates():
            if value not in self._taken and value not in self._barred:
                self._leases[sandbox_id] = self._last = value
                self._taken.add(value)
                return self._make(value)
        raise PoolExhausted(f"all {len(self._taken)} pod addresses are in use")

    def release(self, sandbox_id: str) -> bool:
        """Take the address back; False when the sandbox had none."""
        value = self._leases.pop(sandbox_id, None)
        if value is None:
            return False
        self._taken.discard(value)
        return True

    def _candidates(self) -> Iterator[int]:
        start = self._last - self._first
        return (self._first + (start + step) % self._size for step in range(1, self._size + 1))


def replay(lines: Iterable[str]) -> PoolState:
    """Return the state a journal tells; a line cut short by a crash, or not ours, is passed over."""
    leases: dict[str, Address] = {}
    last: Address | None = None
    for line in lines:
        if not line.endswith("\n"):
            continue
        match line.split():
            case ["lease", address, sandbox_id] if (parsed := _parse(address)) is not None:
                leases[sandbox_id] = last = parsed
            case ["free", sandbox_id]:
                leases.pop(sandbox_id, None)
            case ["last", address] if (parsed := _parse(address)) is not None:
                last = parsed
    return PoolState(leases, last)


def _parse(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


class LeaseJournal:
    """An append-only file, one line per change: one small write for each pod, rewritten short when it is opened.

    It guards against the death of the agent, not of the machine: after a power cut there are no sandboxes either.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state = self._load()
        fresh = path.with_suffix(".new")
        with fresh.open("w", encoding="ascii") as out:
            out.writelines(f"lease {address} {sandbox_id}\n" for sandbox_id, address in self.state.leases.items())
            if self.state.last is not None:
                out.write(f"last {self.state.last}\n")
        fresh.replace(path)
        self._file = path.open("a", encoding="ascii")

    def leased(self, sandbox_id: str, address: Address) -> None:
        self._append(f"lease {address} {sandbox_id}\n")

    def freed(self, sandbox_id: str) -> None:
        self._append(f"free {sandbox_id}\n")

    def close(self) -> None:
        self._file.close()

    def _append(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()

    def _load(self) -> PoolState:
        try:
            with self._path.open(encoding="ascii", errors="replace") as lines:
                return replay(lines)
        except FileNotFoundError:
            return PoolState({})
