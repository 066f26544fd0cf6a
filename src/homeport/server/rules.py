"""The rules of kinds, as the server asks for them."""

from homeport.api.resources import Gvk
from homeport.errors import Cause, Invalid
from homeport.server import failures
from homeport.server.objects import Tree

__all__ = ["check_create", "check_update", "columns", "row"]


def check_create(gvk: Gvk, tree: Tree) -> None:
    """Refuse a new object that breaks a rule of its kind. Raises Invalid."""
    if not tree["metadata"].get("name"):
        cause = Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
        raise failures.invalid(gvk.kind, gvk.group, "", (cause,))


def check_update(gvk: Gvk, new: Tree, old: Tree, subresource: str) -> None:
    """Refuse a change that breaks a rule of its kind. Raises Invalid."""
    if new["metadata"].get("uid") != old["metadata"]["uid"]:
        raise Invalid("metadata.uid: field is immutable")


def columns(gvk: Gvk) -> list[Tree]:
    """Return the column definitions of a kind's Table."""
    return [
        {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
        {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0},
    ]


def row(gvk: Gvk, tree: Tree, now: float) -> Tree:
    """Return an object's row, without its `object`."""
    metadata = tree["metadata"]
    return {"cells": [metadata.get("name", ""), metadata.get("creationTimestamp")]}
