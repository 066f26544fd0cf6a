"""Indexers several controllers share, so that each informer keeps one index of a kind."""

from collections.abc import Sequence
from typing import Final

from homeport.api.selectors import LabelSelector
from homeport.client.contract import Object
from homeport.client.informer import Informer

__all__ = ["LABEL", "NAMESPACE", "in_namespace", "index_by_label", "index_by_namespace", "selected"]

NAMESPACE: Final = "namespace"
LABEL: Final = "label"


def _namespace_of(obj: Object) -> Sequence[str]:
    return (obj["metadata"].get("namespace", ""),)


def index_by_namespace(informer: Informer) -> None:
    """Let `in_namespace` answer from an index."""
    informer.add_indexer(NAMESPACE, _namespace_of)


def in_namespace(informer: Informer, namespace: str) -> Sequence[Object]:
    """Return the objects of one namespace without walking all the others."""
    return informer.by_index(NAMESPACE, namespace)


def _labels_of(obj: Object) -> Sequence[str]:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    return [f"{namespace}/{name}={value}" for name, value in (metadata.get("labels") or {}).items()]


def index_by_label(informer: Informer) -> None:
    """Let `selected` answer from an index. Costs a little with every change: add it once there is somebody to ask."""
    index_by_namespace(informer)
    informer.add_indexer(LABEL, _labels_of)


def selected(informer: Informer, namespace: str, selector: LabelSelector) -> list[Object]:
    """Return the objects of a namespace that a selector matches, without walking all where it names a label's value."""
    if selector.nothing:
        return []
    if selector.pairs:
        name, value = selector.pairs[0]
        found = informer.by_index(LABEL, f"{namespace}/{name}={value}")
    else:
        found = in_namespace(informer, namespace)
    return [obj for obj in found if selector.matches(obj["metadata"].get("labels"))]
