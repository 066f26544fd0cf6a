"""One violated rule as a value, and the `Invalid` status a list of them makes.

Source: api-machinery 6.2, 6.3.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport import errors
from homeport.api import schema
from homeport.api.resources import Gvk

__all__ = [
    "OMITTED",
    "FieldError",
    "GoStruct",
    "duplicate",
    "forbidden",
    "invalid",
    "not_found",
    "not_supported",
    "refused",
    "required",
    "too_long",
    "too_many",
    "type_invalid",
]

_TEXT: Final = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueTypeInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueNotFound": "Not found",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooShort": "Too short",
    "FieldValueTooMany": "Too many",
    "FieldValueTooFew": "Too few",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE: Final = frozenset(
    {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "FieldValueTooShort", "InternalError"}
)


OMITTED: Final = object()
"""In place of a value that is not shown."""


@dataclass(frozen=True, slots=True)
class GoStruct:
    """A value that upstream prints in its internal form: every field, by its Go name, in declaration order."""

    type_name: str
    tree: Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One violated rule.

    reason  the cause type, such as `FieldValueInvalid`.
    field   path, such as `spec.containers[0].name`.
    value   what was found there; not shown by every reason.
    detail  what the rule asks for.
    """

    reason: str
    field: str
    value: Any
    detail: str

    @property
    def body(self) -> str:
        """The text after the path: `Invalid value: "x": must be ...`."""
        parts = [_TEXT[self.reason]]
        if self.reason not in _WITHOUT_VALUE and self.value is not OMITTED:
            parts.append(_shown(self.value))
        if self.detail:
            parts.append(self.detail)
        return ": ".join(parts)

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "", detail)


def refused(field: str, value: Any, detail: str) -> FieldError:
    """The value is against a rule: `Invalid value`."""
    return FieldError("FieldValueInvalid", field, value, detail)


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueTypeInvalid", field, value, detail)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """The value is none of `supported`, which are shown in the order given."""
    return FieldError(
        "FieldValueNotSupported", field, value, "supported values: " + ", ".join(_quoted(item) for item in supported)
    )


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, value, "")


def not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, value, "")


def forbidden(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueForbidden", field, "", detail)


def too_long(field: str, limit: int, unit: str = "bytes") -> FieldError:
    return FieldError("FieldValueTooLong", field, "", f"may not be more than {limit} {unit}")


def too_many(field: str, count: int, limit: int) -> FieldError:
    return FieldError("FieldValueTooMany", field, count, f"must have at most {limit} items")


def invalid(gvk: Gvk, name: str, violations: Sequence[FieldError]) -> errors.Invalid:
    """Return the 422 status for these violations, equal texts said once."""
    texts = list(dict.fromkeys(str(violation) for violation in violations))
    group_kind = f"{gvk.kind}.{gvk.group}" if gvk.group else gvk.kind
    summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = tuple(errors.Cause(violation.reason, violation.body, violation.field) for violation in violations)
    return errors.Invalid(
        f'{group_kind} "{name}" is invalid: {summary}',
        errors.Details(name=name, group=gvk.group, kind=gvk.kind, causes=causes),
    )


def _shown(value: Any) -> str:
    match value:
        case str():
            return _quoted(value)
        case bool():
            return "true" if value else "false"
        case _:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_go_struct)


def _quoted(text: str) -> str:
    """Quote as Go's %q does."""
    return json.dumps(text, ensure_ascii=False).replace("\\u00", "\\x").replace("\x7f", "\\x7f")


def _go_struct(value: object) -> Any:
    if isinstance(value, GoStruct):
        return _go_form(value.type_name, value.tree)
    raise TypeError(f"not to be shown: {value!r}")


def _go_form(type_name: str, tree: Any) -> Any:
    if tree is None:
        return None
    return {field.go_name: _go_value(field, tree.get(field.name)) for field in schema.struct(type_name).fields.values()}


def _go_value(field: schema.Field, value: Any) -> Any:
    if value is None:
        if field.pointer or field.type[0] in "[{":
            return None
        if field.type[0] == "@":
            return _go_form(field.type[1:], {})
        return {"s": "", "i": 0, "l": 0, "b": False, "q": "0", "x": 0}.get(field.type)
    if field.type[0] == "@":
        return _go_form(field.type[1:], value)
    if field.type.startswith("[]@"):
        return [_go_form(field.type[3:], item) for item in value]
    return value
