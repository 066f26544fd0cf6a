"""What the verbs lean on, composed once."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from homeport.api.exchange import Request, User
from homeport.api.resources import Gvk, Resource
from homeport.clock import Clock
from homeport.server.hub import Hub
from homeport.server.lists import Lister
from homeport.server.negotiation import Representation
from homeport.server.objects import Codec
from homeport.server.routing import Target
from homeport.server.settings import Settings
from homeport.server.storage import Storage
from homeport.server.watch import Watches

__all__ = ["Call", "Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one server."""

    settings: Settings
    clock: Clock
    rng: random.Random
    codecs: Mapping[str, Codec]  # by the resource's versioned name, whose hash is kept
    hub: Hub
    storage: Storage
    lister: Lister
    watches: Watches

    def codec(self, resource: Resource) -> Codec:
        return self.codecs[resource.versioned]


@dataclass(slots=True)
class Call:
    """One resource request on its way: what was asked, by whom, and how to answer. `warnings` become headers."""

    request: Request
    target: Target
    query: Mapping[str, str]
    user: User
    codec: Codec
    representation: Representation
    require: Callable[[str], None]
    """Raises Forbidden where the user may not do another verb to the same target."""
    warnings: list[str] = field(default_factory=list)

    @property
    def repeated(self) -> Sequence[tuple[str, str]]:
        return self.request.query

    @property
    def gvk(self) -> Gvk:
        return self.codec.resource.gvk
