"""Everything with a resource path: the stored kinds, and the questions that are answered and forgotten."""

from itertools import chain
from typing import Final

from homeport.api.resources import METRICS, OTHER_VERSIONS, RESOURCES, Gvk, Resource

__all__ = ["BY_PATH", "GROUPS", "METRICS", "METRIC_NAMES", "REVIEWS", "REVIEW_NAMES", "SERVED"]

_AUTHENTICATION: Final = "authentication.k8s.io"
_AUTHORIZATION: Final = "authorization.k8s.io"


def _review(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    return Resource(Gvk(group, "v1", kind), kind.lower() + "s", namespaced, verbs=("create",))


REVIEWS: Final[tuple[Resource, ...]] = (
    _review(_AUTHENTICATION, "SelfSubjectReview"),
    _review(_AUTHENTICATION, "TokenReview"),
    _review(_AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True),
    _review(_AUTHORIZATION, "SelfSubjectAccessReview"),
    _review(_AUTHORIZATION, "SelfSubjectRulesReview"),
    _review(_AUTHORIZATION, "SubjectAccessReview"),
)

REVIEW_NAMES: Final = frozenset(resource.group_resource for resource in REVIEWS)
"""Their group-resources: strings, whose hash is kept."""

METRIC_NAMES: Final = frozenset(resource.group_resource for resource in METRICS)

_BEFORE_REVIEWS: Final = ("", "apps", "events.k8s.io")


def _versions(resource: Resource) -> tuple[Resource, ...]:
    """Return a kind's preferred version and its others."""
    return resource, *(other for other in OTHER_VERSIONS if other.group_resource == resource.group_resource)


SERVED: Final[tuple[Resource, ...]] = tuple(
    chain(
        (resource for resource in RESOURCES if resource.group in _BEFORE_REVIEWS),
        REVIEWS,
        chain.from_iterable(_versions(resource) for resource in RESOURCES if resource.group not in _BEFORE_REVIEWS),
        METRICS,
    )
)
"""In the priority order of groups."""

BY_PATH: Final = {(resource.group, resource.version, resource.plural): resource for resource in SERVED}
GROUPS: Final = frozenset(resource.group for resource in SERVED)
