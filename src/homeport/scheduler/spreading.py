"""The spread a pod gets without asking: away from others of the same Service, ReplicaSet or StatefulSet.

It weighs, it never forbids. Source: node 16.3 of the specification, "Cluster default spread".
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from homeport.api.selectors import LabelSelector, Requirement, label_selector_from_object
from homeport.scheduler.model import Pod, SpreadConstraint

__all__ = ["with_default_spread"]

DEFAULTS: Final = (("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5))


def with_default_spread(
    pod: Pod, services: Iterable[Mapping[str, Any]], owner_selector: Mapping[str, Any] | None
) -> Pod:
    """Return the pod with the cluster's default constraints, unless it brings its own or belongs to nothing.

    services        those of the pod's namespace, or only those that select the pod
    owner_selector  `spec.selector` of the ReplicaSet or StatefulSet that controls it
    """
    if pod.spread:
        return pod
    terms: list[Requirement] = []
    for service in services:
        wanted = (service.get("spec") or {}).get("selector") or {}
        if wanted and all(pod.labels.get(name) == value for name, value in wanted.items()):
            terms += [Requirement(name, "=", (value,)) for name, value in wanted.items()]
    if owner_selector is not None:
        terms += label_selector_from_object(owner_selector).requirements
    if not terms:
        return pod
    selector = LabelSelector.of(terms)
    spread = tuple(SpreadConstraint(key, skew, selector, required=False, lenient=True) for key, skew in DEFAULTS)
    return replace(pod, spread=spread)
