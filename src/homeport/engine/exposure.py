"""Which ports of the host's loopback addresses lead to which Services. Pure.

A Service asks for it by an annotation, so that the wish lives and dies with it: `homeport.local/expose: "15432:5432"`,
local port before the Service's own, several separated by commas. A loopback address other than 127.0.0.1 comes first:
`[::1]:15432:5432`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

__all__ = [
    "ANNOTATION",
    "LOOPBACKS",
    "Exposure",
    "ExposureError",
    "Goal",
    "Place",
    "exposures",
    "goals",
    "loopback",
    "text_of",
]

ANNOTATION: Final = "homeport.local/expose"
LOOPBACKS: Final = {"IPv4": "127.0.0.1", "IPv6": "::1"}
"""The host's loopback address of each family; the first one where none is named."""
Object = Mapping[str, Any]


class ExposureError(ValueError):
    """The annotation, or what a person gave for it, cannot be read; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A port of one of the host's loopback addresses."""

    address: str
    port: int

    @classmethod
    def read(cls, text: str) -> "Place":
        """Return what `str` gave. Raises ValueError."""
        address, _, port = text.rpartition(":")
        return cls(address.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def loopback(text: str) -> str:
    """Return a loopback address in its usual form. Raises ExposureError: nothing is opened to other machines."""
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ExposureError(f"{text!r} is no address; give 127.0.0.1 or ::1") from None
    if not address.is_loopback:
        raise ExposureError(
            f"{address} is not a loopback address: Services are opened to this machine alone; `ssh -L` or a proxy of"
            " yours lets others in"
        )
    return str(address)


@dataclass(frozen=True, slots=True, order=True)
class Exposure:
    """`local` is the port on a loopback address of the host, `port` the Service's."""

    local: int
    port: int
    address: str = LOOPBACKS["IPv4"]

    @classmethod
    def parse(cls, text: str) -> "Exposure":
        """Read `LOCAL:PORT` or `ADDRESS:LOCAL:PORT`. Raises ExposureError."""
        head, separator, port = text.strip().rpartition(":")
        address, _, local = head.rpartition(":")
        if not separator or not (local.isdecimal() and port.isdecimal()):
            raise ExposureError(f"{text!r}: write LOCAL:PORT, as in 15432:5432")
        for number in (int(local), int(port)):
            if not 0 < number < 65536:
                raise ExposureError(f"{text!r}: a port is a number from 1 to 65535")
        return cls(int(local), int(port), loopback(address) if address else LOOPBACKS["IPv4"])

    @property
    def place(self) -> Place:
        return Place(self.address, self.local)

    def __str__(self) -> str:
        local = str(self.local) if self.address == LOOPBACKS["IPv4"] else str(self.place)
        return f"{local}:{self.port}"


@dataclass(frozen=True, slots=True)
class Goal:
    """Where connections to one local port go: a Service's virtual address and port."""

    namespace: str
    name: str
    address: str
    port: int


def exposures(service: Object) -> list[Exposure]:
    """Return what a Service's annotation asks for. Raises ExposureError."""
    text = (service["metadata"].get("annotations") or {}).get(ANNOTATION) or ""
    return [Exposure.parse(part) for part in text.split(",") if part.strip()]


def text_of(wanted: Iterable[Exposure]) -> str | None:
    """Return the annotation for some exposures; None for none."""
    return ",".join(map(str, sorted(set(wanted)))) or None


def goals(services: Iterable[Object], *, node_ports: Sequence[str] = ()) -> dict[Place, Goal]:
    """Return the goal of every place asked for; of two Services that ask for the same, the first by name has it.

    node_ports  the loopback addresses on which every TCP node port counts as asked for
    """
    found: dict[Place, Goal] = {}
    for service in sorted(services, key=_key):
        spec = service["spec"]
        address = spec.get("clusterIP")
        if not address or address == "None":
            continue
        try:
            asked = [(one.place, one.port) for one in exposures(service)]
        except ExposureError:
            asked = []  # whoever wrote it by hand is told by `homeport expose`
        tcp = [port for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
        known = {port["port"] for port in tcp}
        asked += [(Place(one, number), port) for number, port in _node_ports(tcp) for one in node_ports]
        for place, port in asked:
            if port in known:
                found.setdefault(place, Goal(*_key(service), address, port))
    return found


def _node_ports(ports: Sequence[Object]) -> list[tuple[int, int]]:
    return [(port["nodePort"], port["port"]) for port in ports if port.get("nodePort")]


def _key(service: Object) -> tuple[str, str]:
    return service["metadata"].get("namespace", ""), service["metadata"]["name"]
