"""Defaults of role bindings: which group a reference means (the API reference of Kubernetes 1.36)."""

from typing import Any, Final

__all__ = ["GROUP", "binding"]

Tree = dict[str, Any]

GROUP: Final = "rbac.authorization.k8s.io"


def binding(tree: Tree) -> None:
    reference = tree["roleRef"]
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in tree.get("subjects", ()):
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = GROUP
