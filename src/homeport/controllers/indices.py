"""Indexers several controllers share, so that each informer keeps one index of a kind."""

from collections.abc import Sequence
from typing import Final

from homeport.client.contract import Object
from homeport.client.informer import Informer

__all__ = ["NAMESPACE", "in_namespace", "index_by_namespace"]

NAMESPACE: Final = "namespace"


def _namespace_of(obj: Object) -> Sequence[str]:
    return (obj["metadata"].get("namespace", ""),)


def index_by_namespace(informer: Informer) -> None:
    """Let `in_namespace` answer from an index."""
    informer.add_indexer(NAMESPACE, _namespace_of)


def in_namespace(informer: Informer, namespace: str) -> Sequence[Object]:
    """Return the objects of one namespace without walking all the others."""
    return informer.by_index(NAMESPACE, namespace)
