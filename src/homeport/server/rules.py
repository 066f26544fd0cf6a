"""The rules of kinds, as the server asks for them."""

from homeport.api import tables, validation
from homeport.api.resources import Gvk
from homeport.server.objects import Tree

__all__ = ["check_create", "check_update", "columns", "row"]

columns = tables.columns
row = tables.row


def check_create(gvk: Gvk, tree: Tree) -> None:
    """Refuse a new object that breaks a rule of its kind. Raises Invalid."""
    if violations := validation.validate_create(gvk, tree):
        raise validation.invalid(gvk, tree["metadata"].get("name", ""), violations)


def check_update(gvk: Gvk, new: Tree, old: Tree, subresource: str) -> None:
    """Refuse a change that breaks a rule of its kind. Raises Invalid."""
    if violations := validation.validate_update(gvk, new, old, subresource):
        raise validation.invalid(gvk, new["metadata"].get("name", ""), violations)
