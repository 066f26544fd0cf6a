"""Which ports of the host's loopback address lead to which Services. Pure.

A Service asks for it by an annotation, so that the wish lives and dies with it: `homeport.local/expose: "15432:5432"`,
local port before the Service's own, several separated by commas.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ANNOTATION", "Exposure", "ExposureError", "Goal", "exposures", "goals", "text_of"]

ANNOTATION: Final = "homeport.local/expose"
Object = Mapping[str, Any]


class ExposureError(ValueError):
    """The annotation, or what a person gave for it, cannot be read; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class Exposure:
    """`local` is the port on the host's loopback address, `port` the Service's."""

    local: int
    port: int

    @classmethod
    def parse(cls, text: str) -> "Exposure":
        """Read `LOCAL:PORT`. Raises ExposureError."""
        local, separator, port = text.strip().partition(":")
        if not separator or not (local.isdigit() and port.isdigit()):
            raise ExposureError(f"{text!r}: write LOCAL:PORT, as in 15432:5432")
        for number in (int(local), int(port)):
            if not 0 < number < 65536:
                raise ExposureError(f"{text!r}: a port is a number from 1 to 65535")
        return cls(int(local), int(port))

    def __str__(self) -> str:
        return f"{self.local}:{self.port}"


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


def goals(services: Iterable[Object], *, node_ports: bool = False) -> dict[int, Goal]:
    """Return the goal of every local port asked for; of two Services that ask for the same, the first by name has it.

    node_ports  every TCP node port counts as asked for
    """
    found: dict[int, Goal] = {}
    for service in sorted(services, key=_key):
        spec = service["spec"]
        address = spec.get("clusterIP")
        if not address or address == "None":
            continue
        try:
            asked = [(one.local, one.port) for one in exposures(service)]
        except ExposureError:
            asked = []  # whoever wrote it by hand is told by `homeport expose`
        tcp = [port for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
        known = {port["port"] for port in tcp}
        if node_ports:
            asked += _node_ports(tcp)
        for local, port in asked:
            if port in known:
                found.setdefault(local, Goal(*_key(service), address, port))
    return found


def _node_ports(ports: Sequence[Object]) -> list[tuple[int, int]]:
    return [(port["nodePort"], port["port"]) for port in ports if port.get("nodePort")]


def _key(service: Object) -> tuple[str, str]:
    return service["metadata"].get("namespace", ""), service["metadata"]["name"]
