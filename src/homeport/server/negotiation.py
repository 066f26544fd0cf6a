"""Which representation a client gets (api-machinery 5)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from homeport.errors import Details, NotAcceptable

__all__ = ["Form", "Representation", "choose", "parse_accept"]

_PRETTY_AGENTS: Final = ("curl", "Wget", "Mozilla/5.0")
_SERVED: Final = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_STREAMS: Final = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
_META: Final = "meta.k8s.io"


class Form(Enum):
    """What becomes of an object before it is encoded."""

    PLAIN = "plain"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Representation:
    """An answer's shape. `version` is meta.k8s.io's, for tables and partial objects.

    shared  nothing is encoded: the client reads the server's own trees
    """

    form: Form = Form.PLAIN
    yaml: bool = False
    pretty: bool = False
    version: str = "v1"
    include_object: str = ""
    shared: bool = False

    @property
    def content_type(self) -> str:
        return "application/yaml" if self.yaml else "application/json"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of an Accept header."""

    media: str
    parameters: Mapping[str, str]
    quality: float


@lru_cache(maxsize=256)
def parse_accept(header: str) -> tuple[Clause, ...]:
    """Return the clauses, best first: by quality, then as written."""
    clauses = []
    for part in header.split(","):
        media, *rest = (piece.strip() for piece in part.split(";"))
        if not media:
            continue
        parameters = dict(piece.partition("=")[::2] for piece in rest if piece)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        clauses.append(Clause(media, {k.strip(): v.strip().strip('"') for k, v in parameters.items()}, quality))
    return tuple(sorted(clauses, key=lambda clause: -clause.quality))


@lru_cache(maxsize=512)
def _negotiate(header: str, collection: bool) -> Representation:
    known = False
    for clause in parse_accept(header):
        if clause.media in ("application/json", "*/*"):
            yaml = False
        elif clause.media == "application/yaml":
            yaml = True
        else:
            known = known or clause.media == "application/vnd.kubernetes.protobuf"
            continue
        known = True
        found = _with_parameters(clause.parameters, yaml)
        if found is not None and not (found.form is Form.PARTIAL_LIST and not collection):
            return found
    if known:
        raise NotAcceptable(f"only the following media types are accepted: {_SERVED}")
    streams = _STREAMS if collection else ""
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {_SERVED}{streams}", Details())


def _with_parameters(parameters: Mapping[str, str], yaml: bool) -> Representation | None:
    pretty = parameters.get("pretty") in ("1", "true")
    asked = parameters.get("as")
    if asked is None:
        plain = not (parameters.keys() & {"g", "v", "sv"})
        return Representation(yaml=yaml, pretty=pretty) if plain else None
    version = parameters.get("v", "")
    if parameters.get("g") != _META or version not in ("v1", "v1beta1"):
        return None
    try:
        form = Form(asked)
    except ValueError:
        return None
    return Representation(form, yaml, pretty, version) if form is not Form.PLAIN else None


_PLAIN: Final = Representation()
_SHARED: Final = Representation(shared=True)
_PLAIN_PRETTY: Final = Representation(pretty=True)


def choose(
    headers: Mapping[str, str],
    query: Mapping[str, str],
    *,
    collection: bool,
    watch: bool = False,
    shared: bool = False,
) -> Representation:
    """Return the representation for a request. Raises NotAcceptable.

    collection  whether the answer is a list or a stream of a collection
    watch       whether it is a stream: its objects are items, so the `...List` form is refused
    shared      whether the client takes plain objects as they are in memory
    """
    accept = headers.get("accept", "")
    found = _PLAIN if accept in ("", "application/json") else _negotiate(accept, collection)
    if found.form is Form.PARTIAL and collection and not watch:
        raise NotAcceptable(f"only the following media types are accepted: {_SERVED}")
    pretty = found.pretty or query.get("pretty") in ("1", "true")
    if not pretty and "pretty" not in query:
        pretty = headers.get("user-agent", "").startswith(_PRETTY_AGENTS)
    include = query.get("includeObject", "") if found.form is Form.TABLE else ""
    if pretty == found.pretty and not include:
        return _SHARED if shared and found is _PLAIN else found
    if found is _PLAIN:
        return _PLAIN_PRETTY
    return Representation(found.form, found.yaml, pretty, found.version, include)


def plain(headers: Mapping[str, str], query: Mapping[str, str]) -> Representation:
    """Return the representation of an error or Status: never a Table, and JSON where nothing else is admitted (5.4)."""
    yaml = False
    for clause in parse_accept(headers.get("accept", "")):
        if clause.media == "application/yaml" and not clause.parameters:
            yaml = True
            break
        if clause.media in ("application/json", "*/*"):
            break
    pretty = query.get("pretty") in ("1", "true") or headers.get("user-agent", "").startswith(_PRETTY_AGENTS)
    return Representation(yaml=yaml, pretty=pretty)


_GZIP: Final = re.compile(r"(^|,)\s*gzip\s*(;|,|$)")


def accepts_gzip(header: str) -> bool:
    return bool(header) and _GZIP.search(header) is not None
