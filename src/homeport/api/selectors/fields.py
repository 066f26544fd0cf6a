"""Field selectors: `spec.nodeName=n1,status.phase!=Running`, over the few fields each kind offers.

Source: apimachinery `fields`, the kinds' field label conversions and selectable fields; `api-machinery` 9.7.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from homeport.api.resources import Gvk
from homeport.errors import BadRequest

__all__ = ["FieldSelector", "FieldTerm", "parse_field_selector", "selectable_fields"]

Getter = Callable[[Mapping[str, Any]], str]


def _path(*paths: str) -> Getter:
    """Return a getter of the first non-empty of some dotted paths; absent is "", a bool is `true` or `false`."""
    steps = [path.split(".") for path in paths]

    def get(obj: Mapping[str, Any]) -> str:
        for names in steps:
            value: Any = obj
            for name in names:
                value = value.get(name) if isinstance(value, Mapping) else None
                if value is None:
                    break
            if value is not None and value != "":
                return str(value).lower() if isinstance(value, bool) else str(value)
        return ""

    return get


def _default(getter: Getter, empty: str) -> Getter:
    return lambda obj: getter(obj) or empty


def _pod_ip(obj: Mapping[str, Any]) -> str:
    addresses = (obj.get("status") or {}).get("podIPs") or ()
    return addresses[0].get("ip", "") if addresses else ""


_NAME: Final[Mapping[str, Getter]] = {"metadata.name": _path("metadata.name")}
_PLACE: Final[Mapping[str, Getter]] = {**_NAME, "metadata.namespace": _path("metadata.namespace")}
_POD: Final[Mapping[str, Getter]] = {
    **_PLACE,
    "spec.nodeName": _path("spec.nodeName"),
    "spec.host": _path("spec.nodeName"),
    "spec.restartPolicy": _path("spec.restartPolicy"),
    "spec.schedulerName": _path("spec.schedulerName"),
    "spec.serviceAccountName": _path("spec.serviceAccountName"),
    "spec.hostNetwork": _default(_path("spec.hostNetwork"), "false"),
    "status.phase": _path("status.phase"),
    "status.podIP": _pod_ip,
    "status.podIPs": lambda _: "",  # accepted, and never filled in
    "status.nominatedNodeName": _path("status.nominatedNodeName"),
}
_REFERENCE: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT: Final[Mapping[str, Getter]] = {
    **_PLACE,
    **{f"involvedObject.{name}": _path(f"involvedObject.{name}", f"regarding.{name}") for name in _REFERENCE},
    "reason": _path("reason"),
    "reportingComponent": _path("reportingComponent", "reportingController"),
    "source": _path(
        "source.component", "deprecatedSource.component", "reportingComponent", "reportingController"
    ),
    "type": _path("type"),
}  # fmt: skip
_NEW_EVENT: Final[Mapping[str, Getter]] = {
    **_PLACE,
    **{f"regarding.{name}": _EVENT[f"involvedObject.{name}"] for name in _REFERENCE},
    "reason": _EVENT["reason"],
    "reportingController": _EVENT["reportingComponent"],
    "type": _EVENT["type"],
}

_NOT_SUPPORTED: Final = "field label not supported: {}"
_NOT_KNOWN: Final = '"{}" is not a known field selector: only "metadata.name", "metadata.namespace"'

_KINDS: Final[Mapping[tuple[str, str], tuple[Mapping[str, Getter], str]]] = {
    ("", "Pod"): (_POD, _NOT_SUPPORTED),
    ("", "Event"): (_EVENT, _NOT_SUPPORTED),
    ("events.k8s.io", "Event"): (_NEW_EVENT, _NOT_SUPPORTED),
    ("", "Node"): (
        {**_NAME, "spec.unschedulable": _default(_path("spec.unschedulable"), "false")},
        _NOT_SUPPORTED,
    ),
    ("", "Namespace"): ({**_NAME, "status.phase": _path("status.phase")}, _NOT_SUPPORTED),
    ("", "Secret"): ({**_PLACE, "type": _path("type")}, _NOT_SUPPORTED),
    ("", "Service"): (
        {**_PLACE, "spec.clusterIP": _path("spec.clusterIP"), "spec.type": _path("spec.type")},
        _NOT_SUPPORTED,
    ),
    ("", "ReplicationController"): (
        {**_PLACE, "status.replicas": _default(_path("status.replicas"), "0")},
        _NOT_SUPPORTED,
    ),
    ("batch", "Job"): (
        {**_PLACE, "status.successful": _default(_path("status.succeeded"), "0")},
        'field label "{}" not supported for Job',
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): (
        {**_NAME, "spec.signerName": _path("spec.signerName")},
        _NOT_SUPPORTED,
    ),
    ("resource.k8s.io", "ResourceSlice"): (
        {**_NAME, "spec.nodeName": _path("spec.nodeName"), "spec.driver": _path("spec.driver")},
        "field label not supported for ResourceSlice: {}",
    ),
}


def selectable_fields(gvk: Gvk, extra: Sequence[str] = ()) -> tuple[Mapping[str, Getter], str]:
    """Return a kind's selectable fields, and the message for all others.

    extra  a custom resource's `selectableFields`, such as `.spec.color`.
    """
    known = _KINDS.get((gvk.group, gvk.kind))
    if known is not None:
        return known
    if extra:
        paths = [path.lstrip(".") for path in extra]
        return {**_PLACE, **{path: _path(path) for path in paths}}, _NOT_SUPPORTED
    return _PLACE, _NOT_KNOWN


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One comparison; an absent field counts as the empty string."""

    field: str
    equal: bool
    value: str
    getter: Getter


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold; without any, everything matches."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether an object is meant."""
        return all((term.getter(obj) == term.value) is term.equal for term in self.terms)

    @property
    def empty(self) -> bool:
        return not self.terms

    def required(self, field: str) -> str | None:
        """Return the value a field must have, such as `metadata.name`; None when it is not pinned to one."""
        for term in self.terms:
            if term.field == field and term.equal:
                return term.value
        return None


@lru_cache(maxsize=1024)
def parse_field_selector(text: str, gvk: Gvk, extra: tuple[str, ...] = ()) -> FieldSelector:
    """Return the selector a string means for a kind. Raises BadRequest with the server's message."""
    raw: list[tuple[str, bool, str]] = []
    for part in sorted(_split(text)):
        if not part:
            continue
        found = _split_term(part)
        if found is None:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = found
        raw.append((field, operator != "!=", _unescape(value)))
    fields, refusal = selectable_fields(gvk, extra)
    terms: list[FieldTerm] = []
    for field, equal, value in raw:
        getter = fields.get(field)
        if getter is None:
            raise BadRequest(refusal.format(field))
        terms.append(FieldTerm(field, equal, value, getter))
    return FieldSelector(tuple(terms))


def _split(text: str) -> list[str]:
    """Split at commas that no backslash precedes."""
    parts, start, escaped = [], 0, False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _split_term(part: str) -> tuple[str, str, str] | None:
    for at in range(len(part)):
        for operator in ("!=", "==", "="):
            if part.startswith(operator, at):
                return part[:at], operator, part[at + len(operator) :]
    return None


def _unescape(value: str) -> str:
    if not any(char in value for char in "\\,="):
        return value
    out: list[str] = []
    escaped = False
    for char in value:
        if escaped:
            if char not in "\\,=":
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{char}")
            out.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            out.append(char)
    if escaped:
        raise BadRequest("invalid field selector: invalid escape sequence: \\")
    return "".join(out)
