"""Defaults of the kinds that need little: namespaces, nodes, secrets, priority classes, token requests."""

import base64
from typing import Any

__all__ = ["namespace", "node", "priority_class", "secret", "token_request"]

Tree = dict[str, Any]


def namespace(tree: Tree) -> None:
    tree.setdefault("status", {}).setdefault("phase", "Active")
    if name := tree["metadata"].get("name"):
        tree["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def node(tree: Tree) -> None:
    status = tree.setdefault("status", {})
    if "allocatable" not in status and "capacity" in status:
        status["allocatable"] = dict(status["capacity"])
    spec = tree["spec"]
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs"):
        spec["podCIDR"] = spec["podCIDRs"][0]


def secret(tree: Tree) -> None:
    tree.setdefault("type", "Opaque")
    if plain := tree.pop("stringData", None):
        data = tree.setdefault("data", {})
        for key, text in plain.items():
            data[key] = base64.b64encode(text.encode()).decode()


def priority_class(tree: Tree) -> None:
    tree.setdefault("preemptionPolicy", "PreemptLowerPriority")


def token_request(tree: Tree) -> None:
    tree["spec"].setdefault("expirationSeconds", 3600)
