"""Query parameters and DeleteOptions as typed values, with upstream's refusals (api-machinery 6.5, 8, 9.4, 10.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeport.errors import BadRequest, Cause
from homeport.server import failures
from homeport.server.objects import Tree
from homeport.server.routing import truthy

__all__ = ["DeleteOptions", "ListOptions", "WriteOptions", "delete_options", "list_options", "write_options"]

_VALIDATIONS: Final = ("", "Ignore", "Warn", "Strict")
_PROPAGATIONS: Final = ("Foreground", "Background", "Orphan")


def _forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _unsupported(field: str, value: str, supported: Sequence[str]) -> Cause:
    listed = ", ".join(f'"{each}"' for each in supported)
    return Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {listed}', field)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a list or watch asks for. `version` is None when no resourceVersion was given."""

    label_selector: str = ""
    field_selector: str = ""
    version_text: str = ""
    match: str = ""
    limit: int = 0
    token: str = ""
    timeout_seconds: int | None = None
    bookmarks: bool = False
    initial_events: bool | None = None


def list_options(query: Mapping[str, str], *, watch: bool) -> ListOptions:
    """Read and check the parameters of a list or watch. Raises BadRequest, Invalid."""
    if not query:
        return _NO_OPTIONS
    initial = query.get("sendInitialEvents")
    options = ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        version_text=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        limit=max(_integer(query.get("limit", "")), 0),
        token=query.get("continue", ""),
        timeout_seconds=_integer(query["timeoutSeconds"]) if query.get("timeoutSeconds") else None,
        bookmarks=truthy(query.get("allowWatchBookmarks")),
        initial_events=None if initial is None else truthy(initial),
    )
    causes = _watch_causes(options) if watch else _list_causes(options)
    if causes:
        raise failures.invalid_options("ListOptions", *causes)
    return options


_NO_OPTIONS: Final = ListOptions()


def _list_causes(options: ListOptions) -> list[Cause]:
    causes = []
    if options.match:
        if not options.version_text:
            causes.append(
                _forbidden(
                    "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
                )
            )
        if options.token:
            causes.append(
                _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
            )
        if options.match not in ("Exact", "NotOlderThan"):
            causes.append(_unsupported("resourceVersionMatch", options.match, ("Exact", "NotOlderThan", "")))
        if options.match == "Exact" and options.version_text == "0":
            causes.append(
                _forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
            )
    if options.initial_events is not None:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return causes


def _watch_causes(options: ListOptions) -> list[Cause]:
    if options.initial_events is not None:
        if options.match != "NotOlderThan":
            return [
                _forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                )
            ]
        return []
    if options.match:
        return [
            _forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        ]
    return []


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a create, update or patch asks for."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = ""
    force: bool = False


_NO_WRITE_OPTIONS: Final = WriteOptions()


def write_options(query: Mapping[str, str], repeated: Sequence[tuple[str, str]], kind: str) -> WriteOptions:
    """Read and check the parameters of a write; `kind` names them in refusals. Raises Invalid."""
    if not query:
        return _NO_WRITE_OPTIONS
    options = WriteOptions(
        dry_run="dryRun" in query,
        field_manager=query.get("fieldManager", ""),
        field_validation=query.get("fieldValidation", ""),
        force=truthy(query.get("force")),
    )
    causes = _dry_run_causes([value for name, value in repeated if name == "dryRun"])
    if options.field_validation not in _VALIDATIONS:
        causes.append(_unsupported("fieldValidation", options.field_validation, ("", "Ignore", "Strict", "Warn")))
    if len(options.field_manager) > 128:
        causes.append(Cause("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager"))
    if causes:
        raise failures.invalid_options(kind, *causes)
    return options


def _dry_run_causes(values: Sequence[str]) -> list[Cause]:
    return [_unsupported("dryRun", value, ("All",)) for value in values if value != "All"][:1]


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How something is to go. `grace` in seconds; `propagation` is "" when the request leaves it to the kind."""

    grace: int | None = None
    uid: str = ""
    version: str = ""
    propagation: str = ""
    orphan: bool | None = None
    dry_run: bool = False


def delete_options(query: Mapping[str, str], repeated: Sequence[tuple[str, str]], body: Tree | None) -> DeleteOptions:
    """Read DeleteOptions from the body, or from the query if the body is empty (8.5). Raises BadRequest, Invalid."""
    if body is None:
        raw: Tree = {
            "gracePeriodSeconds": _parsed(query.get("gracePeriodSeconds")),
            "propagationPolicy": query.get("propagationPolicy"),
            "dryRun": [value for name, value in repeated if name == "dryRun"],
        }
        if "orphanDependents" in query:
            raw["orphanDependents"] = truthy(query["orphanDependents"])
    else:
        raw = body
    _check_types(raw)
    preconditions = raw.get("preconditions") or {}
    dry_run = raw.get("dryRun") or ()
    options = DeleteOptions(
        grace=raw.get("gracePeriodSeconds"),
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
        propagation=raw.get("propagationPolicy") or "",
        orphan=raw.get("orphanDependents"),
        dry_run=bool(dry_run),
    )
    causes = []
    if options.propagation and options.orphan is not None:
        causes.append(
            Cause(
                "FieldValueInvalid",
                f'Invalid value: "{options.propagation}": orphanDependents and deletionPropagation cannot be both set',
                "propagationPolicy",
            )
        )
    if options.propagation and options.propagation not in _PROPAGATIONS:
        causes.append(_unsupported("propagationPolicy", options.propagation, (*_PROPAGATIONS, "nil")))
    causes += _dry_run_causes(dry_run)
    if causes:
        raise failures.invalid_options("DeleteOptions", *causes)
    return options


_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "gracePeriodSeconds": (int, "int64"),
    "propagationPolicy": (str, "v1.DeletionPropagation"),
    "orphanDependents": (bool, "bool"),
    "preconditions": (dict, "v1.Preconditions"),
    "dryRun": (list, "[]string"),
}
_JSON_NAMES: Final = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}


def _check_types(raw: Mapping[str, Any]) -> None:
    for field, (wanted, go_type) in _TYPES.items():
        value = raw.get(field)
        if value is None or (isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))):
            continue
        found = _JSON_NAMES[type(value)]
        raise BadRequest(f"json: cannot unmarshal {found} into Go struct field DeleteOptions.{field} of type {go_type}")


def _integer(text: str) -> int:
    if not text:
        return 0
    try:
        return int(text)
    except ValueError as error:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def _parsed(text: str | None) -> int | None:
    return None if text is None else _integer(text)
