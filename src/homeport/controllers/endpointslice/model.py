"""Slices and endpoints as values.

Source: services-dns 9 and 11 of the specification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from homeport.controllers.backends import Port

__all__ = [
    "MANAGED_BY_LABEL",
    "MANAGER",
    "SERVICE_NAME_LABEL",
    "Action",
    "CreateSlice",
    "DeleteSlice",
    "Endpoint",
    "Slice",
    "SliceContent",
    "Target",
    "UpdateSlice",
]

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
MANAGED_BY_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "endpointslice-controller.k8s.io"


@dataclass(frozen=True, slots=True)
class Target:
    """The pod behind an endpoint."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One backend with all three conditions stated; `zone_hint` and `node_hint` are "" when not hinted."""

    addresses: tuple[str, ...]
    ready: bool
    serving: bool
    terminating: bool
    target: Target | None
    hostname: str = ""
    node: str = ""
    zone: str = ""
    zone_hint: str = ""
    node_hint: str = ""

    @property
    def identity(self) -> tuple[tuple[str, ...], Target | None]:
        """What makes it the same endpoint, whatever its conditions are."""
        return self.addresses, self.target


@dataclass(frozen=True, slots=True)
class SliceContent:
    """Everything the controller decides about a slice. `trigger_time` "" means: no such annotation."""

    address_type: str
    ports: tuple[Port, ...]
    endpoints: tuple[Endpoint, ...]
    labels: Mapping[str, str]
    trigger_time: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice that exists, and the uid of the Service that controls it, "" when none does."""

    name: str
    uid: str
    owner: str
    content: SliceContent


@dataclass(frozen=True, slots=True)
class CreateSlice:
    content: SliceContent


@dataclass(frozen=True, slots=True)
class UpdateSlice:
    """Replace what `name` says; the object's resourceVersion guards the write."""

    name: str
    content: SliceContent


@dataclass(frozen=True, slots=True)
class DeleteSlice:
    name: str
    uid: str


Action = CreateSlice | UpdateSlice | DeleteSlice
