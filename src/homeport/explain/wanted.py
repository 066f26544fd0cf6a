"""A connection as people ask for it: from which pod, to what, and by which port. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = ["Wanted", "wanted"]

_ARROW: Final = re.compile(r"\s*(?:→|->)\s*")
_PODS: Final = ("pod", "pods", "po")
_SERVICES: Final = ("service", "services", "svc")
_HELP: Final = "say POD SERVICE [PORT], or 'POD->SERVICE:PORT'; both may be NAMESPACE/NAME"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A connection: the pod's name, what it asks for as a pod would write it (a name or an address), and a port or ``.

    namespace  the pod's, where it is named; else ``
    """

    pod: str
    service: str
    port: str = ""
    namespace: str = ""

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address asked for, when it is not a name."""
        try:
            return ip_address(self.service)
        except ValueError:
            return None


def wanted(words: Sequence[str]) -> Wanted:
    """Return what `POD→SVC`, `POD->SVC:PORT` or `POD SVC PORT` ask for. Raises ValueError for anything else."""
    parts = [part for word in words for part in _ARROW.split(word) if part]
    if len(parts) == 2:
        parts[1:] = _host_and_port(parts[1])
    if len(parts) != 3 or not parts[0] or not parts[1]:
        raise ValueError(_HELP)
    home, pod = _bare(parts[0], _PODS)
    where, service = _bare(parts[1], _SERVICES)
    return Wanted(pod, f"{service}.{where}" if where else service, parts[2], home)


def _host_and_port(text: str) -> tuple[str, str]:
    """Split `name:port`, `10.96.0.1:443`, `[fd00::1]:443`; an IPv6 address without brackets has no port."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _bare(text: str, kinds: Sequence[str]) -> tuple[str, str]:
    """Return namespace, or ``, and name of `NAME`, `KIND/NAME`, `NAMESPACE/NAME` or `KIND/NAMESPACE/NAME`."""
    parts = text.split("/")
    if len(parts) > 1 and parts[0] in kinds:
        parts = parts[1:]
    if len(parts) > 2 or not all(parts) or (len(parts) == 2 and parts[0] in (*_PODS, *_SERVICES, *_OTHERS)):
        raise ValueError(f"{text}: a connection goes from a pod to a Service; {_HELP}")
    return (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])


_OTHERS: Final = ("sts", "statefulset", "statefulsets", "deploy", "deployment", "deployments", "job", "jobs")
"""Kinds that people may think a connection leads to, more likely meant as such than as a namespace."""
