"""The rules of kinds, as the server asks for them."""

from homeport.api import tables, validation
from homeport.api.resources import Gvk
from homeport.api.validation.errors import required
from homeport.server.objects import Tree

__all__ = ["check_create", "check_update", "columns", "deprecation", "row"]

columns = tables.columns
row = tables.row
deprecation = validation.deprecation


def check_create(gvk: Gvk, tree: Tree, warnings: list[str]) -> None:
    """Refuse a new object that breaks a rule of its kind, add what it is warned of. Raises Invalid."""
    name = tree["metadata"].get("name", "")
    violations = validation.validate_create(gvk, tree)
    if not violations and not name:  # some kinds leave the name to this last check
        violations = [required("metadata.name", "name or generateName is required")]
    if violations:
        raise validation.invalid(gvk, name, violations)
    warnings += validation.warnings_for(gvk, tree)


def check_update(gvk: Gvk, new: Tree, old: Tree, subresource: str, warnings: list[str]) -> None:
    """Refuse a change that breaks a rule of its kind, add what it is warned of. Raises Invalid."""
    metadata = validation.validate_metadata_update(new["metadata"], old["metadata"])  # once for all, once for the kind
    if violations := metadata + validation.validate_update(gvk, new, old, subresource):
        raise validation.invalid(gvk, new["metadata"].get("name", ""), violations)
    if not subresource:
        warnings += validation.warnings_for(gvk, new, old)
