"""Patch bodies: which kind they are, and what they make of an object (api-machinery 11)."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeport.api import decode as decoding
from homeport.api.defaults import apply_defaults
from homeport.api.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from homeport.api.patch.merge_facts import PLAIN, merge_facts
from homeport.api.resources import Gvk
from homeport.errors import BadRequest, Cause, Details, Invalid, UnsupportedMediaType
from homeport.server import bodies
from homeport.server.golang import go_map
from homeport.server.objects import Stored, Tree, encode_json
from homeport.server.options import WriteOptions
from homeport.server.services import Call
from homeport.server.writes import fresh

__all__ = ["Patch", "applied", "patched", "read"]

_JSON: Final = "application/json-patch+json"
_MERGE: Final = "application/merge-patch+json"
_STRATEGIC: Final = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Patch:
    """A parsed patch body and its media type."""

    media: str
    body: Any


def read(call: Call) -> Patch:
    """Parse the patch of a request. Raises UnsupportedMediaType, BadRequest."""
    media = bodies.media_type(call.request.headers)
    if media not in (_JSON, _MERGE, _STRATEGIC):
        raise UnsupportedMediaType("415: Unsupported Media Type", Details())
    try:
        return Patch(media, msgspec.json.decode(call.request.body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest(f"error decoding patch: {bodies.json_complaint(call.request.body)}") from None


def patched(call: Call, patch: Patch, old: Stored, options: WriteOptions, warnings: list[str]) -> Tree:
    """Return what a patch makes of a stored object, decoded and defaulted. Raises BadRequest, Invalid."""
    return applied(patch, call.codec.tree(old), call.gvk, options, warnings)


def applied(patch: Patch, tree: Tree, gvk: Gvk, options: WriteOptions, warnings: list[str]) -> Tree:
    """Return what a patch makes of an object of some kind, decoded and defaulted; the input stays as it is."""
    match patch.media:
        case "application/json-patch+json":
            result = apply_json_patch(tree, patch.body)
        case "application/merge-patch+json":
            result = apply_merge_patch(tree, patch.body)
        case _:
            result = apply_strategic_patch(tree, patch.body, merge_facts(gvk) or PLAIN)
    wanted = fresh(result)
    raw = encode_json(wanted) if options.field_validation == "Strict" else b""
    _check_identity(wanted, tree, gvk)
    decoded = decoding.decode(gvk, wanted)
    findings = (*_patch_findings(patch), *decoded.findings)
    if findings and options.field_validation == "Strict":
        raise _strict(patch, raw, findings)
    if options.field_validation != "Ignore":
        warnings.extend(findings)
    apply_defaults(gvk, decoded.tree)
    return decoded.tree


def _check_identity(wanted: Tree, tree: Tree, gvk: Gvk) -> None:
    """Refuse a patch that makes another kind, name or namespace of the object (11.4)."""
    metadata = wanted.get("metadata")
    if not isinstance(metadata, dict):
        return
    name, namespace = (tree["metadata"].get(field, "") for field in ("name", "namespace"))
    if metadata.get("name") != name:
        named = metadata.get("name")
        if not named:
            raise BadRequest(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
        raise BadRequest(f"the name of the object ({named}) does not match the name on the URL ({name})")
    if metadata.get("namespace") != namespace and metadata.get("namespace"):
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    bodies.check_kind(wanted, gvk)


_KNOWN: Final = frozenset({"op", "path", "from", "value"})


def _patch_findings(patch: Patch) -> list[str]:
    if patch.media != _JSON:
        return []
    return [
        f'json patch unknown field "[{index}].{key}"'
        for index, operation in enumerate(patch.body)
        for key in operation
        if key not in _KNOWN
    ]


def _strict(patch: Patch, raw: bytes, findings: tuple[str, ...]) -> Invalid:
    shown = go_map(patch.body) if patch.media == _STRATEGIC else raw.decode()
    message = f"Invalid value: {encode_json(shown).decode()}: strict decoding error: {', '.join(findings)}"
    return Invalid(f' "" is invalid: patch: {message}', Details(causes=(Cause("FieldValueInvalid", message, "patch"),)))
