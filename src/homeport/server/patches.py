"""Patch bodies: which kind they are, and what they make of an object (api-machinery 11)."""

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeport.api import decode as decoding
from homeport.api.defaults import apply_defaults, apply_status_defaults
from homeport.api.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from homeport.api.patch.golang import go_kind, go_text
from homeport.api.patch.merge_facts import PLAIN, merge_facts
from homeport.api.resources import Gvk
from homeport.errors import BadRequest, Cause, Details, Invalid, UnsupportedMediaType
from homeport.server import bodies, failures
from homeport.server.objects import Stored, Tree, encode_json
from homeport.server.options import WriteOptions
from homeport.server.services import Call
from homeport.server.writes import fresh

__all__ = ["Patch", "applied", "check_options", "patched", "read"]

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
    tree = call.codec.tree(old)
    return applied(patch, tree, call.gvk, options, warnings, status=call.target.subresource == "status")


def applied(
    patch: Patch, tree: Tree, gvk: Gvk, options: WriteOptions, warnings: list[str], *, status: bool = False
) -> Tree:
    """Return what a patch makes of an object of some kind, decoded and defaulted; the input stays as it is.

    status  the write is to a status: a spec the patch does not speak of is handed on as it is stored, and shared
    """
    if status and _changes_status_alone(patch, tree):
        quick = _with_status(patch, tree, gvk)
        if quick is not None:
            return quick
    match patch.media:
        case "application/json-patch+json":
            result = apply_json_patch(tree, patch.body)
        case "application/merge-patch+json":
            result = apply_merge_patch(tree, patch.body)
        case _:
            result = apply_strategic_patch(tree, patch.body, merge_facts(gvk) or PLAIN)
    if not isinstance(result, dict):
        why = f"json: cannot unmarshal {go_kind(result)} into Go value of type map[string]interface {{}}"
        raise _refused(patch, result, why)
    kept = tree.get("spec") if status and _speaks_of_status_alone(patch) else None
    wanted = fresh(result if kept is None else {key: value for key, value in result.items() if key != "spec"})
    _check_identity(wanted, tree)
    try:
        bodies.check_kind(wanted, gvk)
        decoded = decoding.decode(gvk, wanted)
    except BadRequest as error:
        why = error.message.partition(": ")[2] or error.message
        raise _refused(patch, result, _converters_words(why) if patch.media == _STRATEGIC else why) from error
    findings = (*_patch_findings(patch), *decoded.findings)
    if findings and options.field_validation == "Strict":
        raise _refused(patch, result, f"strict decoding error: {', '.join(findings)}")
    if options.field_validation != "Ignore":
        warnings.extend(findings)
    if kept is not None:
        decoded.tree["spec"] = kept
        if apply_status_defaults(gvk, decoded.tree):
            return decoded.tree
        decoded.tree["spec"] = fresh(kept)
    apply_defaults(gvk, decoded.tree)
    return decoded.tree


def _changes_status_alone(patch: Patch, tree: Tree) -> bool:
    """Whether a strategic patch speaks of the status, and beside it at most of the uid the object has."""
    body = patch.body
    if patch.media != _STRATEGIC or not isinstance(body, dict) or not body.keys() <= {"metadata", "status"}:
        return False
    metadata = body.get("metadata", {})
    if not isinstance(metadata, dict) or not isinstance(body.get("status"), dict):
        return False
    return not metadata or metadata == {"uid": tree["metadata"]["uid"]}


def _with_status(patch: Patch, tree: Tree, gvk: Gvk) -> Tree | None:
    """Return the object with the patch's status on it, everything else shared; None where there is more to say.

    What comes out is what the long way gives: metadata and spec are decoded and defaulted as they are stored.
    """
    rule = (merge_facts(gvk) or PLAIN).rule("status")
    before = tree.get("status")
    if rule.replace or not isinstance(before, dict):
        return None
    status = apply_strategic_patch(before, patch.body["status"], rule.below)
    try:
        decoded, findings = decoding.decode_field(gvk, "status", fresh(status))
    except BadRequest:
        return None
    if findings:
        return None
    result = {key: value for key, value in tree.items() if key != "spec"}
    result |= {"metadata": dict(tree["metadata"]), "status": decoded}
    if "spec" in tree:
        result["spec"] = tree["spec"]
    return result if apply_status_defaults(gvk, result) else None


def _speaks_of_status_alone(patch: Patch) -> bool:
    return patch.media != _JSON and isinstance(patch.body, dict) and patch.body.keys() <= {"metadata", "status"}


def _check_identity(wanted: Tree, tree: Tree) -> None:
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


def check_options(options: WriteOptions) -> None:
    """Refuse what only an apply may ask for. Raises Invalid."""
    if options.force:
        cause = Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")
        raise failures.invalid_options("PatchOptions", cause)


_TYPE_ERROR: Final = re.compile(r"json: cannot unmarshal (\w+)(?: ([-\d.e+]+))? into Go struct field .* of type (.+)$")
_GO_KINDS: Final = {"object": "map", "array": "slice", "string": "string", "bool": "bool"}
_GO_SCALARS: Final = ("string", "bool", "int32", "int64", "float64")


def _converters_words(why: str) -> str:
    """Say a type error as upstream's converter says it, which reads what a strategic patch gives without any JSON."""
    found = _TYPE_ERROR.match(why)
    if found is None:
        return why
    kind, number, wanted = found.groups()
    given = _GO_KINDS.get(kind) or ("float64" if "." in (number or "") else "int64")
    if wanted.startswith("[]"):
        return f"cannot restore slice from {given}"
    if wanted.startswith("map["):
        return f"cannot restore map from {given}"
    if wanted in _GO_SCALARS:
        return f"cannot convert {given} to {wanted}"
    return f"cannot restore struct from: {given}"


def _refused(patch: Patch, result: Any, why: str) -> Invalid:
    """A patch whose result is no object of the kind: told by the result, or by a strategic patch itself."""
    shown = go_text(patch.body) if patch.media == _STRATEGIC else encode_json(_in_upstream_order(result)).decode()
    message = f"Invalid value: {encode_json(shown).decode()}: {why}"
    return Invalid(f' "" is invalid: patch: {message}', Details(causes=(Cause("FieldValueInvalid", message, "patch"),)))


_METADATA_ORDER: Final = ("name", "generateName", "namespace", "uid", "resourceVersion", "generation")


def _in_upstream_order(tree: Any) -> Any:
    """Return the object with its keys in the order upstream prints a patched object's."""
    if not isinstance(tree, dict):
        return tree
    ordered = {key: tree[key] for key in sorted(tree)}
    if isinstance(metadata := tree.get("metadata"), dict):
        first = {key: metadata[key] for key in (*_METADATA_ORDER, "creationTimestamp") if key in metadata}
        ordered["metadata"] = {**first, **metadata}
    return ordered
