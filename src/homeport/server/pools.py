"""Numbers to give away: cluster addresses and node ports, each from a band for asked-for and one for chosen ones.

Source: services-dns 3.1, 3.2. A pool only remembers; it is rebuilt from the stored Services at start.
"""

import random
from ipaddress import IPv4Address, IPv4Network

__all__ = ["AddressPool", "Full", "OutOfRange", "PortPool", "Taken"]


class Taken(Exception):
    """Somebody else holds it."""


class OutOfRange(Exception):
    """Not one of the pool's."""


class Full(Exception):
    """Nothing left."""


def _band(size: int, share: int, least: int, most: int) -> int:
    return 0 if size <= least else min(max(least, size // share), most)


class _Band:
    """Integers of a range, the lower part of it kept for those who ask for a certain one."""

    def __init__(self, first: int, last: int, static: int, rng: random.Random) -> None:
        self.first, self.last = first, last
        self._dynamic_from = first + static
        self._rng = rng
        self.taken: set[int] = set()

    def take(self, number: int) -> None:
        if not self.first <= number <= self.last:
            raise OutOfRange(number)
        if number in self.taken:
            raise Taken(number)
        self.taken.add(number)

    def pick(self) -> int:
        """Take a free number: upper band first, from a random start on."""
        for low, high in ((self._dynamic_from, self.last), (self.first, self._dynamic_from - 1)):
            size = high - low + 1
            if size <= 0:
                continue
            start = self._rng.randrange(size)
            for step in range(size):
                number = low + (start + step) % size
                if number not in self.taken:
                    self.taken.add(number)
                    return number
        raise Full

    def free(self, number: int) -> None:
        self.taken.discard(number)


class AddressPool:
    """The usable addresses of a service range."""

    def __init__(self, network: IPv4Network, rng: random.Random) -> None:
        self.network = network
        size = network.num_addresses
        first = int(network.network_address) + 1
        self._band = _Band(first, first + size - 3, _band(size, 16, 16, 256), rng)

    def take(self, address: str) -> None:
        """Take one address. Raises Taken, OutOfRange."""
        self._band.take(int(IPv4Address(address)))

    def pick(self) -> str:
        """Take any address. Raises Full."""
        return str(IPv4Address(self._band.pick()))

    def free(self, address: str) -> None:
        self._band.free(int(IPv4Address(address)))


class PortPool:
    """The node ports: one number space for all protocols."""

    def __init__(self, first: int, last: int, rng: random.Random) -> None:
        self._band = _Band(first, last, _band(last - first + 1, 32, 16, 128), rng)
        self.first, self.last = first, last

    def take(self, port: int) -> None:
        """Take one port. Raises Taken, OutOfRange."""
        self._band.take(port)

    def pick(self) -> int:
        """Take any port. Raises Full."""
        return self._band.pick()

    def free(self, port: int) -> None:
        self._band.free(port)
