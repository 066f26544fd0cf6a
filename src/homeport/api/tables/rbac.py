"""Rows of role bindings (15.7)."""

from typing import Any, Final

from homeport.api.tables.cells import AGE, NAME, Cells, Printer, Tree, age, narrow, wide

__all__ = ["BINDING"]


def _binding(tree: Tree, now: float) -> Cells:
    reference = tree.get("roleRef", {})
    return [
        tree["metadata"].get("name", ""),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        age(tree, now),
        *(_named(tree, kind) for kind in ("User", "Group", "ServiceAccount")),
    ]


def _named(tree: Tree, kind: str) -> str:
    found: list[Any] = [subject for subject in tree.get("subjects", ()) if subject.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{subject.get('namespace', '')}/{subject.get('name', '')}" for subject in found)
    return ", ".join(subject.get("name", "") for subject in found)


BINDING: Final = Printer((NAME, narrow("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")), _binding)
