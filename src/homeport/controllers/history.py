"""ControllerRevisions: the past templates of a workload, told apart by their bytes and named by a hash of them.

Everything here is pure. Source: `workloads` 3.1 to 3.3.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.ids import fnv32, safe_encode

__all__ = [
    "HASH_LABEL",
    "ApplyNumber",
    "NewRevision",
    "Revision",
    "canonical",
    "choose",
    "decode",
    "hash_of",
    "revision_name",
    "sort_key",
    "surplus",
    "template_data",
]

HASH_LABEL: Final = "controller.kubernetes.io/hash"
NAME_PREFIX_LIMIT: Final = 223
_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


@dataclass(frozen=True, slots=True)
class Revision:
    """A stored template. `data` is its canonical text, `template` the same as a tree."""

    name: str
    uid: str
    number: int
    created: str
    data: bytes
    template: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApplyNumber:
    """An old revision is wanted again: raise its number to `number`."""

    revision: Revision
    number: int


@dataclass(frozen=True, slots=True)
class NewRevision:
    """The template was never seen: store it under `number`."""

    number: int


def decode(revision: Mapping[str, Any]) -> Revision:
    """Return what a ControllerRevision object holds; notes of other encoders, such as null times, do not count."""
    metadata = revision["metadata"]
    template = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    bare = {name: value for name, value in template.items() if name != "$patch"}
    return Revision(
        name=metadata["name"],
        uid=metadata["uid"],
        number=revision.get("revision", 0),
        created=metadata.get("creationTimestamp") or "",
        data=canonical(template_data(bare)),
        template=bare,
    )


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the bytes upstream writes for a document: sorted keys, no spaces, HTML characters escaped."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_ESCAPES).encode()


def template_data(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a revision stores: a patch that puts this template in place of whatever is there."""
    metadata = {name: value for name, value in (template.get("metadata") or {}).items() if value is not None}
    return {"spec": {"template": {**template, "metadata": metadata, "$patch": "replace"}}}


def hash_of(data: bytes, collisions: int) -> str:
    """Return the hash that names a revision; `collisions` moves it away from a name already taken."""
    return safe_encode(str(fnv32(data + str(collisions).encode())))


def revision_name(owner: str, digest: str) -> str:
    return f"{owner[:NAME_PREFIX_LIMIT]}-{digest}"


def sort_key(revision: Revision) -> tuple[int, str, str]:
    """Oldest first: by number, then creation time, then name."""
    return revision.number, revision.created, revision.name


def choose(history: Sequence[Revision], data: bytes) -> Revision | ApplyNumber | NewRevision:
    """Return the revision the live template belongs to; `history` is sorted by `sort_key`.

    The newest revision with equal data is used as it is when it is the last one, and raised to the top when it is not:
    a rollback reuses the old name.
    """
    number = history[-1].number + 1 if history else 1
    equal = [revision for revision in history if revision.data == data]
    if not equal:
        return NewRevision(number)
    if history[-1].data == data:
        return history[-1]
    return ApplyNumber(equal[-1], number)


def surplus(history: Sequence[Revision], live: Collection[str], limit: int) -> Sequence[Revision]:
    """Return the revisions to delete, oldest first, so that `limit` remain beside the live ones; negative keeps all."""
    if limit < 0:
        return ()
    unused = [revision for revision in history if revision.name not in live]
    return unused[: max(0, len(unused) - limit)]
