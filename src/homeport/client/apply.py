"""Declarative apply from the client's side: make an object what a manifest says, and leave what others own alone.

What was applied last is kept in the object's `kubectl.kubernetes.io/last-applied-configuration` annotation, so this
and `kubectl apply` continue each other's work. The patch is strategic: wanted fields, plus removals of what was
wanted last time and is not any more.
"""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from homeport.api.patch.merge_facts import MergeFacts, merge_facts
from homeport.api.resources import Resource
from homeport.client.contract import Client, Object, PatchType
from homeport.errors import AlreadyExists, NotFound

__all__ = ["LAST_APPLIED", "Outcome", "apply", "removals"]

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class Outcome(Enum):
    """What an apply did, in kubectl's words."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


async def apply(client: Client, resource: Resource, wanted: Object, namespace: str | None) -> tuple[Outcome, Object]:
    """Create the object or patch it to be as wanted. Raises ApiError."""
    plain = _plain(wanted, namespace)
    body = _annotated(plain)
    name = body["metadata"]["name"]
    try:
        live = await client.get(resource, namespace, name)
    except NotFound:
        try:
            return Outcome.CREATED, await client.create(resource, body, namespace)
        except AlreadyExists:
            live = await client.get(resource, namespace, name)
    last = _last_applied(live)
    patch = _merge(body, removals(last, plain, merge_facts(resource.gvk))) if last else body
    patched = await client.patch(resource, namespace, name, patch, kind=PatchType.STRATEGIC)
    same = patched["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    return (Outcome.UNCHANGED if same else Outcome.CONFIGURED), patched


def _plain(wanted: Object, namespace: str | None) -> dict[str, Any]:
    """Return what is wanted in the form that is remembered: where it goes, and annotations even when there are none."""
    metadata = dict(wanted["metadata"])
    if namespace is not None:
        metadata["namespace"] = namespace
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
    return {**wanted, "metadata": metadata}


def _annotated(plain: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True) + "\n"
    metadata = plain["metadata"]
    return {**plain, "metadata": {**metadata, "annotations": {**metadata["annotations"], LAST_APPLIED: text}}}


def _last_applied(live: Object) -> Mapping[str, Any] | None:
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return None
    try:
        tree = json.loads(text)
    except ValueError:
        return None  # somebody wrote over it: nothing is known about the last time
    return tree if isinstance(tree, dict) else None


def removals(last: Mapping[str, Any], wanted: Mapping[str, Any], facts: MergeFacts | None) -> dict[str, Any]:
    """Return the patch that removes what `last` has and `wanted` lacks; empty when there is nothing."""
    patch: dict[str, Any] = {}
    for name, old in last.items():
        rule = facts.rule(name) if facts is not None else None
        new = wanted.get(name)
        if new is None and old and isinstance(old, Mapping) and name in ("labels", "annotations"):
            patch[name] = dict.fromkeys(old)  # others write here too: only what was ours goes
        elif new is None:
            patch[name] = None
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = removals(old, new, rule.below if rule else None)
            if inner:
                patch[name] = inner
        elif isinstance(old, Sequence) and isinstance(new, Sequence) and rule is not None and rule.merge and rule.key:
            elements = _element_removals(old, new, rule.key, rule.below)
            if elements:
                patch[name] = elements
    return patch


def _element_removals(old: Sequence[Any], new: Sequence[Any], key: str, facts: MergeFacts) -> list[dict[str, Any]]:
    kept = {element.get(key): element for element in new}
    patch: list[dict[str, Any]] = []
    for element in old:
        value = element.get(key)
        if value not in kept:
            patch.append({"$patch": "delete", key: value})
            continue
        inner = removals(element, kept[value], facts)
        if inner:
            patch.append({key: value, **inner})
    return patch


def _merge(wanted: Mapping[str, Any], gone: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the removals over what is wanted, map by map and element by element."""
    merged = dict(wanted)
    for name, value in gone.items():
        current = merged.get(name)
        if isinstance(current, Mapping) and isinstance(value, Mapping):
            merged[name] = _merge(current, value)
        elif isinstance(current, Sequence) and isinstance(value, Sequence):
            merged[name] = _merge_elements(current, value)
        else:
            merged[name] = value
    return merged


def _merge_elements(current: Sequence[Any], gone: Sequence[Mapping[str, Any]]) -> list[Any]:
    elements = list(current)
    for removal in gone:
        key = _key_of(removal)
        place = next((n for n, element in enumerate(elements) if element.get(key) == removal[key]), None)
        if place is None:
            elements.append(removal)
        else:
            elements[place] = _merge(elements[place], removal)
    return elements


def _key_of(removal: Mapping[str, Any]) -> str:
    """Return the merge key of an element `_element_removals` made: the first field that is not a directive."""
    return next(name for name in removal if name != "$patch")
