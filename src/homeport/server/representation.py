"""Objects, lists and watch events in the form a client asked for: plain, Table or metadata alone; JSON or YAML."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from homeport.api import decode as decoding
from homeport.api.resources import Gvk
from homeport.api.strategy import TEMPLATE_GENERATION
from homeport.errors import BadRequest
from homeport.server import rules
from homeport.server.cache import Change
from homeport.server.negotiation import Form, Representation
from homeport.server.objects import Codec, Stored, Tree, encode_json

__all__ = [
    "Frame",
    "bookmark",
    "error_frame",
    "list_bytes",
    "list_tree",
    "object_bytes",
    "shared_frame",
    "stored_bytes",
    "tree_bytes",
    "watch_frame",
]

Frame: TypeAlias = bytes | Tree
"""One event of a watch: a JSON document and its newline, or for a client in this process the tree itself."""

_INCLUDES = ("", "Metadata", "Object", "None")


def check_include(representation: Representation) -> None:
    """Refuse an unknown `includeObject` (14.3)."""
    if representation.include_object not in _INCLUDES:
        raise BadRequest(
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            f'"{representation.include_object}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )


def finish(document: Any, representation: Representation) -> bytes:
    """Encode a document of any shape."""
    if representation.yaml:
        from homeport.server import yaml_answer

        return yaml_answer.dump(document)
    body = encode_json(document)
    return msgspec.json.format(body, indent=2) if representation.pretty else body


def object_bytes(tree: Tree, gvk: Gvk, representation: Representation, now: float) -> bytes:
    """Encode an object that is not in the store: a dry run's, a Scale, a last state."""
    if representation.form is Form.PLAIN:
        return finish(tree, representation) + _newline(representation)
    return finish(_transformed(tree, gvk, representation, now), representation) + _newline(representation)


def stored_bytes(codec: Codec, stored: Stored, representation: Representation, now: float) -> bytes:
    """Encode a stored object; the common form is one splice."""
    if representation.form is Form.PLAIN and not representation.yaml:
        body = codec.json(stored)
        return (msgspec.json.format(body, indent=2) if representation.pretty else body) + b"\n"
    return object_bytes(codec.tree(stored), codec.resource.gvk, representation, now)


tree_bytes = finish


def _newline(representation: Representation) -> bytes:
    return b"" if representation.yaml else b"\n"


def _transformed(tree: Tree, gvk: Gvk, representation: Representation, now: float) -> Tree:
    if representation.form is Form.TABLE:
        check_include(representation)
        metadata = {"resourceVersion": tree.get("metadata", {}).get("resourceVersion", "")}
        return table([tree], gvk, representation, now, {k: v for k, v in metadata.items() if v})
    return partial(tree, representation)


def partial(tree: Tree, representation: Representation) -> Tree:
    """Return the object's metadata alone (5.7)."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{representation.version}",
        "metadata": _bare(tree["metadata"]),
    }


def _bare(metadata: Tree) -> Tree:
    """Leave out the annotation that belongs to a DaemonSet's whole form only."""
    annotations = metadata.get("annotations") or {}
    if TEMPLATE_GENERATION not in annotations:
        return metadata
    kept = {name: value for name, value in annotations.items() if name != TEMPLATE_GENERATION}
    bare = {name: value for name, value in metadata.items() if name != "annotations"}
    return {**bare, "annotations": kept} if kept else bare


def table(
    trees: Iterable[Tree], gvk: Gvk, representation: Representation, now: float, metadata: Tree, *, columns: bool = True
) -> Tree:
    """Return a Table of objects (14)."""
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{representation.version}",
        "metadata": metadata,
        "columnDefinitions": rules.columns(gvk) if columns else None,
        "rows": [_row(tree, gvk, representation, now) for tree in trees],
    }


def _row(tree: Tree, gvk: Gvk, representation: Representation, now: float) -> Tree:
    row = rules.row(gvk, tree, now)
    match representation.include_object:
        case "Object":
            shown: Tree | None = tree
        case "None":
            shown = None
        case _:
            shown = partial(tree, representation)
    return {**row, "object": shown}


def list_bytes(
    codec: Codec, items: Sequence[Stored], metadata: Tree, representation: Representation, now: float
) -> bytes:
    """Encode a list; plain JSON is a join of stored bytes."""
    if representation.form is Form.PLAIN and not representation.yaml:
        joined = b",".join([codec.item(stored) for stored in items])
        body = list_frame(codec, metadata, joined)
        return msgspec.json.format(body, indent=2) + b"\n" if representation.pretty else body
    trees = [codec.tree(stored) for stored in items]
    resource = codec.resource
    match representation.form:
        case Form.TABLE:
            check_include(representation)
            document = table(trees, resource.gvk, representation, now, metadata)
        case Form.PARTIAL_LIST:
            document = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{representation.version}",
                "metadata": metadata,
                "items": [partial(tree, representation) for tree in trees] or None,  # null when empty, as upstream
            }
        case _:
            document = {
                "kind": resource.list_kind,
                "apiVersion": resource.api_version,
                "metadata": metadata,
                "items": [{k: v for k, v in tree.items() if k not in ("kind", "apiVersion")} for tree in trees],
            }
    return finish(document, representation) + _newline(representation)


def list_tree(codec: Codec, items: Sequence[Stored], metadata: Tree) -> Tree:
    """Return a list for a client in this process: its items are whole objects, the server's own."""
    resource = codec.resource
    trees = [codec.tree(stored) for stored in items]
    return {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata, "items": trees}


def list_frame(codec: Codec, metadata: Tree, joined: bytes) -> bytes:
    """Return a list document around items that are already joined."""
    resource = codec.resource
    return b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[%b]}\n' % (
        resource.list_kind.encode(),
        resource.api_version.encode(),
        encode_json(metadata),
        joined,
    )


def watch_frame(
    kind: str, codec: Codec, stored: Stored, representation: Representation, now: float, *, first: bool = False
) -> Frame:
    """Return one event. `first` Table events carry the column definitions (10.12)."""
    if representation.shared:
        return {"type": kind, "object": codec.tree(stored)}
    match representation.form:
        case Form.PLAIN:
            body = codec.json(stored)
        case Form.TABLE:
            tree = codec.tree(stored)
            body = encode_json(table([tree], codec.resource.gvk, representation, now, {}, columns=first))
        case _:
            body = encode_json(partial(codec.tree(stored), representation))
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)


def shared_frame(kind: str, codec: Codec, change: Change, representation: Representation, now: float) -> Frame:
    """Return a change's event, made once for all watchers that show it alike."""
    slot = (kind, codec.resource.group, None if representation.shared else representation)
    frame = change.frames.get(slot)
    if frame is None:
        stored = change.gone if kind == "DELETED" else change.new
        assert stored is not None
        frame = change.frames[slot] = watch_frame(kind, codec, stored, representation, now)
    return frame


def bookmark(
    codec: Codec, revision: int, representation: Representation, now: float, *, initial: bool, first: bool = False
) -> Frame:
    """Return a BOOKMARK: an object with nothing but a version, and the mark that ends the initial events (10.4)."""
    metadata: Tree = {"resourceVersion": str(revision)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    resource = codec.resource
    tree = _empty(resource.gvk, metadata)
    if representation.shared:
        return {"type": "BOOKMARK", "object": tree}
    match representation.form:
        case Form.PLAIN:
            document = tree
        case Form.TABLE:
            document = table([tree], resource.gvk, representation, now, {}, columns=first)
        case _:
            document = partial(tree, representation)
    return b'{"type":"BOOKMARK","object":%b}\n' % encode_json(document)


def _empty(gvk: Gvk, metadata: Tree) -> Tree:
    """Return an object of a kind with nothing in it but what is always written."""
    if gvk not in _EMPTY:
        _EMPTY[gvk] = decoding.decode(gvk, {"metadata": {}}).tree
    tree = dict(_EMPTY[gvk])
    return {"kind": tree.pop("kind"), "apiVersion": tree.pop("apiVersion"), **tree, "metadata": metadata}


_EMPTY: Final[dict[Gvk, Tree]] = {}


def error_frame(status: Tree, representation: Representation) -> Frame:
    """Return the event that ends a watch with a Status."""
    if representation.shared:
        return {"type": "ERROR", "object": status}
    return b'{"type":"ERROR","object":%b}\n' % encode_json(status)
