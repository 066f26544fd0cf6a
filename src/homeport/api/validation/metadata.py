"""Rules of `metadata` (api-machinery 7): names, labels, annotations, owners, finalizers, what may not change."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from homeport.api import schema
from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, forbidden, refused, required, too_long

__all__ = [
    "in_schema_order",
    "validate_annotations",
    "validate_labels",
    "validate_metadata",
    "validate_metadata_update",
]

Tree = dict[str, Any]
NameRule = Callable[[str], tuple[str, ...]]

ANNOTATIONS_LIMIT: Final = 256 * 1024
_STANDARD_FINALIZERS: Final = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def validate_metadata(metadata: Tree, *, name_rule: NameRule, path: str = "metadata") -> list[FieldError]:
    """Check one object's metadata.

    name_rule  says what is wrong with the name; a generated name is checked by its prefix.
    """
    errors: list[FieldError] = []
    prefix = metadata.get("generateName")
    if prefix:
        errors += [refused(f"{path}.generateName", prefix, p) for p in name_rule(_maskable(prefix))]
    name = metadata.get("name")
    if name:
        errors += [refused(f"{path}.name", name, problem) for problem in name_rule(name)]
    else:
        errors.append(required(f"{path}.name", "name or generateName is required"))
    if labels := metadata.get("labels"):
        errors += validate_labels(labels, f"{path}.labels")
    if annotations := metadata.get("annotations"):
        errors += validate_annotations(annotations, f"{path}.annotations")
    if owners := metadata.get("ownerReferences"):
        errors += _owners(owners, f"{path}.ownerReferences")
    if finalizers := metadata.get("finalizers"):
        errors += _finalizers(finalizers, f"{path}.finalizers")
    return errors


def validate_metadata_update(new: Tree, old: Tree, *, path: str = "metadata") -> list[FieldError]:
    """Check what an update may not change; `new` already has the server's own fields from `old`."""
    errors: list[FieldError] = []
    if old.get("deletionTimestamp"):
        known = old.get("finalizers", ())
        added = [finalizer for finalizer in new.get("finalizers", ()) if finalizer not in known]
        if added:
            listed = ", ".join(f'"{finalizer}"' for finalizer in added)
            errors.append(
                forbidden(
                    f"{path}.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{listed}}}",
                )
            )
    errors += [
        refused(f"{path}.{field}", new.get(field, ""), "field is immutable")
        for field in ("name", "namespace", "uid")
        if new.get(field, "") != old.get(field, "")
    ]
    if labels := new.get("labels"):
        errors += validate_labels(labels, f"{path}.labels")
    if annotations := new.get("annotations"):
        errors += validate_annotations(annotations, f"{path}.annotations")
    if owners := new.get("ownerReferences"):
        errors += _owners(owners, f"{path}.ownerReferences")
    if finalizers := new.get("finalizers"):
        errors += _finalizers(finalizers, f"{path}.finalizers")
    return errors


def validate_labels(labels: Mapping[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in labels.items():
        if problems := names.qualified_name(key):
            errors += [refused(path, key, problem) for problem in problems]
        if problems := names.label_value(value):
            errors += [refused(path, value, problem) for problem in problems]
    return errors


def validate_annotations(annotations: Mapping[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    size = 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        if problems := names.qualified_name(key.lower()):
            errors += [refused(path, key, problem) for problem in problems]
    if size > ANNOTATIONS_LIMIT // 4:  # only then can the bytes exceed the limit
        size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
        if size > ANNOTATIONS_LIMIT:
            errors.append(too_long(path, ANNOTATIONS_LIMIT))
    return errors


def in_schema_order(type_name: str, tree: Tree) -> Tree:
    """Return a value with its fields in declaration order, the order error texts print them in."""
    return {field: tree[field] for field in schema.struct(type_name).fields if field in tree}


def _maskable(prefix: str) -> str:
    """A prefix may end in `-`, because something follows it."""
    return prefix[:-1] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def _owners(owners: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    controller: Tree | None = None
    for owner in owners:
        version = owner.get("apiVersion", "")
        if not version:
            errors.append(refused(f"{path}.apiVersion", version, "version must not be empty"))
        errors += [refused(f"{path}.{f}", "", "must not be empty") for f in ("kind", "name", "uid") if not owner.get(f)]
        if version == "v1" and owner.get("kind") == "Event":
            shown = in_schema_order("meta.v1.OwnerReference", owner)
            errors.append(refused(path, shown, "/v1, Kind=Event is disallowed from being an owner"))
        if not owner.get("controller"):
            continue
        if controller is None:
            controller = owner
            continue
        pair = " and ".join(f"{one.get('kind')}/{one.get('name')}" for one in (controller, owner))
        shown_all = [in_schema_order("meta.v1.OwnerReference", one) for one in owners]
        text = f'Only one reference can have Controller set to true. Found "true" in references for {pair}'
        errors.append(refused(path, shown_all, text))
    return errors


def _finalizers(finalizers: list[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, finalizer in enumerate(finalizers):
        if problems := names.qualified_name(finalizer):
            errors += [refused(path, finalizer, problem) for problem in problems]
        elif "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(refused(f"{path}[{index}]", finalizer, text))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        errors.append(refused(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"))
    return errors
