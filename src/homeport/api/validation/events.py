"""Rules of events (api-machinery 23). Both APIs show the same object; the newer one is strict.

Errors name the fields as the core API has them, whichever API was used.
"""

from typing import Any, Final

from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, refused, required
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update

__all__ = ["validate_event", "validate_event_update", "validate_new_event", "validate_new_event_update"]

Tree = dict[str, Any]

NOTE_LIMIT: Final = 1024
WORD_LIMIT: Final = 128
_IMMUTABLE: Final = (
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def validate_event(tree: Tree) -> list[FieldError]:
    """Check an event of the core API, which must put up with every old client."""
    about = (tree.get("involvedObject") or {}).get("namespace", "")
    fields = {
        "controller": tree.get("reportingComponent", ""),
        "instance": tree.get("reportingInstance", ""),
        "message": tree.get("message", ""),
    }
    return _common(tree, about, fields, "reportingComponent")


def validate_event_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_event(new)


def validate_new_event(tree: Tree) -> list[FieldError]:
    """Check an event of `events.k8s.io`."""
    errors = _new_common(tree)
    errors += validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    errors += _series(tree)
    if not tree.get("eventTime"):
        errors.append(required("eventTime"))
    if tree.get("type") not in ("Normal", "Warning"):
        errors.append(refused("type", "", f"has invalid value: {tree.get('type', '')}"))
    for field, path in (
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ):
        if tree.get(field):
            errors.append(refused(path, "", "needs to be unset"))
    return errors


def validate_new_event_update(new: Tree, old: Tree) -> list[FieldError]:
    """Only the series of an event of `events.k8s.io` may change."""
    errors = _new_common(new) + validate_metadata_update(new["metadata"], old["metadata"])
    if new.get("series") != old.get("series"):
        errors += _series(new)
    errors += [
        refused(path, new.get(field, ""), "field is immutable")
        for field, path in _IMMUTABLE
        if (new.get(field) or None) != (old.get(field) or None)
    ]
    return errors


def _new_common(tree: Tree) -> list[FieldError]:
    about = (tree.get("regarding") or {}).get("namespace", "")
    fields = {
        "controller": tree.get("reportingController", ""),
        "instance": tree.get("reportingInstance", ""),
        "message": tree.get("note", ""),
    }
    return _common(tree, about, fields, "reportingController")


def _common(tree: Tree, about: str, fields: dict[str, str], controller_path: str) -> list[FieldError]:
    namespace = tree["metadata"].get("namespace", "")
    mismatch = refused("involvedObject.namespace", about, "does not match event.namespace")
    errors: list[FieldError] = []
    if not tree.get("eventTime"):
        if namespace != about and (about or namespace != "default"):
            errors.append(mismatch)
        return errors
    if not about and namespace not in ("default", "kube-system"):
        errors.append(mismatch)
    if not fields["controller"]:
        errors.append(required(controller_path))
    problems = names.qualified_name(fields["controller"])
    errors += [refused(controller_path, fields["controller"], problem) for problem in problems]
    for path, value in (
        ("reportingInstance", fields["instance"]),
        ("action", tree.get("action", "")),
        ("reason", tree.get("reason", "")),
    ):
        if not value:
            errors.append(required(path))
        if len(value) > WORD_LIMIT:
            errors.append(refused(path, "", f"can have at most {WORD_LIMIT} characters"))
    if len(fields["message"]) > NOTE_LIMIT:
        errors.append(refused("message", "", f"can have at most {NOTE_LIMIT} characters"))
    return errors


def _series(tree: Tree) -> list[FieldError]:
    series = tree.get("series")
    if series is None:
        return []
    errors: list[FieldError] = []
    if series.get("count", 0) < 2:
        errors.append(refused("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(required("series.lastObservedTime"))
    return errors
