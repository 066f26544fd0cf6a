"""Request bodies: JSON and YAML into trees, with upstream's words for what is wrong (api-machinery 5, 6.4)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeport.api import decode as decoding
from homeport.api import schema
from homeport.api.resources import Gvk
from homeport.errors import BadRequest, UnsupportedMediaType
from homeport.server import protobuf
from homeport.server.objects import Tree, encode_json

__all__ = ["Body", "check_kind", "json_complaint", "media_type", "parse_json", "parse_yaml", "read_object", "read_tree"]

_SCHEME: Final = 'scheme "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"'
_MEDIA: Final = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_STRUCT: Final = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
_JSON_NAMES: Final = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}


@dataclass(frozen=True, slots=True)
class Body:
    """A decoded object, what strict decoding objects to, and the kind the sender named."""

    tree: Tree
    findings: tuple[str, ...]


def media_type(headers: Mapping[str, str]) -> str:
    """Return the content type without its parameters."""
    given = headers.get("content-type", "")
    return given if given == "application/json" else given.partition(";")[0].strip().lower()


_OF_OLD: Final = frozenset({("policy/v1beta1", "Eviction")})
"""Bodies of a former version that are read as the present one."""


def read_object(headers: Mapping[str, str], body: bytes, gvk: Gvk, *, strictness: str = "Warn") -> Body:
    """Decode a whole object of an expected kind. Raises BadRequest, UnsupportedMediaType.

    strictness  `fieldValidation`: with `Ignore` nothing is looked for, with `Strict` findings are an error.
    """
    tree, findings = read_tree(headers, body, gvk.kind)
    kind = check_kind(tree, gvk)
    decoded = decoding.decode(gvk, tree, kind=kind)
    if strictness == "Ignore":
        return Body(decoded.tree, ())
    found = tuple(findings) + decoded.findings
    if found and strictness == "Strict":
        raise decoding.strict_error(gvk, found, kind=kind)
    return Body(decoded.tree, found)


def read_tree(headers: Mapping[str, str], body: bytes, kind: str) -> tuple[Tree, list[str]]:
    """Parse a body of any supported media type; also return a finding per repeated key."""
    media = media_type(headers)
    if media in ("", "application/json"):
        return _object(parse_json(body, kind), body, kind)
    if media == "application/yaml":
        if body.lstrip()[:1] == b"{":
            return _object(parse_json(body, kind), body, kind)
        tree, found = parse_yaml(body, kind)
        return _checked(tree, body, kind), found
    if media == protobuf.MEDIA_TYPE:
        try:
            return protobuf.decode(body), []
        except protobuf.Undecodable as error:
            raise _unrecognized(kind, str(error), body) from error
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(_MEDIA)}"
    )


def _object(tree: Any, body: bytes, kind: str) -> tuple[Tree, list[str]]:
    """Return the object and a finding per repeated key; the careful parse runs only where keys may not add up."""
    checked = _checked(tree, body, kind)
    if body.count(_COLON) == encode_json(checked).count(_COLON) and rb"\u0022" not in body and not _APART.search(body):
        return checked, []
    found: list[str] = []
    merged: Tree = _merged(json.loads(body, object_pairs_hook=_Pairs), "", found)
    return (merged, found) if found else (checked, [])


def _checked(tree: Any, body: bytes, kind: str) -> Tree:
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise _unrecognized(
            kind,
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {_JSON_NAMES[type(tree)]} "
            f"into Go value of type {_STRUCT}",
            body,
        )
    return tree


def parse_json(body: bytes, kind: str) -> Any:
    """Parse JSON; raises BadRequest in the words of encoding/json."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _unrecognized(
            kind, f"couldn't get version/kind; json parse error: {json_complaint(body)}", body
        ) from None


def _unrecognized(kind: str, why: str, body: bytes) -> BadRequest:
    shown = body[:30]
    more = " ..." if len(body) > 30 else ""
    text = shown.decode("utf-8", "replace") if body[:1] == b"{" else shown.hex()
    return BadRequest(f"the object provided is unrecognized (must be of type {kind}): {why} ({text}{more})")


_CONTEXTS: Final = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
}


def json_complaint(body: bytes) -> str:
    """Return what encoding/json says about a body that is not JSON."""
    text = body.decode("utf-8", "replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
            return "unexpected end of JSON input"
        context = next((ours for theirs, ours in _CONTEXTS.items() if error.msg.startswith(theirs)), "")
        if not context:
            context = "after object key:value pair" if _in_object(text[: error.pos]) else "after array element"
        return f"invalid character '{text[error.pos]}' {context}"
    return "invalid UTF-8 in string"


def _in_object(before: str) -> bool:
    """Tell whether the innermost open bracket is a brace, strings left out."""
    depth = [char for char in re.sub(r'"(?:[^"\\]|\\.)*"', "", before) if char in "{}[]"]
    stack: list[str] = []
    for char in depth:
        if char in "{[":
            stack.append(char)
        elif stack:
            stack.pop()
    return bool(stack) and stack[-1] == "{"


_COLON: Final = b'":'
_APART: Final = re.compile(rb'"\s+:')


class _Pairs(list[tuple[str, Any]]):
    """An object as its pairs, in document order, repeats included."""


def _merged(value: Any, path: str, found: list[str]) -> Any:
    """Return the plain value; objects under a repeated key are merged, anything else is the last one's."""
    if isinstance(value, _Pairs):
        out: dict[str, Any] = {}
        for key, inner in value:
            inner_path = f"{path}.{key}" if path else key
            plain = _merged(inner, inner_path, found)
            if key in out:
                finding = f'duplicate field "{inner_path}"'
                if finding not in found:
                    found.append(finding)
                if isinstance(plain, dict) and isinstance(out[key], dict):
                    plain = {**out[key], **plain}
            out[key] = plain
        return out
    if isinstance(value, list):
        return [_merged(inner, f"{path}[{index}]", found) for index, inner in enumerate(value)]
    return value


def check_kind(tree: Tree, gvk: Gvk) -> str:
    """Compare the body's kind and version with the URL's; returns the kind the body names, or "" for the same."""
    kind, version = tree.get("kind"), tree.get("apiVersion")
    if not isinstance(kind, str | None) or not isinstance(version, str | None):
        return ""
    kind, version = kind or gvk.kind, version or gvk.api_version
    if kind == gvk.kind and (version == gvk.api_version or (version, kind) in _OF_OLD):
        return ""
    group, _, short = version.rpartition("/")
    named = Gvk(group, short, kind)
    refusal = f'{kind} in version "{short}" cannot be handled as a {gvk.kind}: '
    if kind == gvk.kind and group == gvk.group:
        raise BadRequest(
            f"the API version in the data ({version}) does not match the expected API version ({gvk.api_version})"
        )
    if schema.kind_type(named) is None:
        raise BadRequest(f'{refusal}no kind "{kind}" is registered for version "{version}" in {_SCHEME}')
    if kind == gvk.kind:
        raise BadRequest(
            f"the API version in the data ({version}) does not match the expected API version ({gvk.api_version})"
        )
    internal = gvk.group.partition(".")[0] or "core"
    raise BadRequest(f"{refusal}converting ({short}.{kind}) to ({internal}.{gvk.kind}): unknown conversion")


def parse_yaml(body: bytes, kind: str) -> tuple[Any, list[str]]:
    """Parse one YAML document as its JSON; returns it and a finding per repeated key. Raises BadRequest."""
    from homeport.server import yaml_body

    try:
        return yaml_body.parse(body)
    except yaml_body.Broken as error:
        raise _unrecognized(kind, f"yaml: {error}", body) from error
