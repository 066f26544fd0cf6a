"""Services by what they select, so that finding those of a pod costs as much as the pod has labels.

A Service's selector is a set of labels a pod must have; an index that files each Service under one of them finds every
Service of a pod among those filed under the pod's labels.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from homeport.client.contract import Object
from homeport.client.informer import Informer

__all__ = ["index_by_selector", "services_of"]

SELECTOR: Final = "selector"

Labels = Mapping[str, str]


def index_by_selector(services: Informer) -> None:
    """Let `services_of` answer from an index."""
    services.add_indexer(SELECTOR, _filed_under)


def services_of(services: Informer, namespace: str, labels: Labels) -> Sequence[Object]:
    """Return the Services of a namespace whose selector takes pods with these labels, in the order of their names.

    Services without a selector take none.
    """
    found = [
        service
        for name, value in labels.items()
        for service in services.by_index(SELECTOR, _place(namespace, name, value))
        if _takes(service["spec"]["selector"], labels)
    ]
    return sorted(found, key=_name) if len(found) > 1 else found


def _filed_under(service: Object) -> Sequence[str]:
    selector = (service.get("spec") or {}).get("selector")
    if not selector:
        return ()
    name = min(selector)
    return (_place(service["metadata"]["namespace"], name, selector[name]),)


def _place(namespace: str, name: str, value: str) -> str:
    return f"{namespace}/{name}={value}"


def _takes(selector: Labels, labels: Labels) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def _name(service: Object) -> str:
    name: str = service["metadata"]["name"]
    return name
