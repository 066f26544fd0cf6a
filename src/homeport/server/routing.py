"""From method and path to what is asked of which resource (api-machinery 1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from homeport.api.exchange import Request
from homeport.api.resources import Gvk, Resource
from homeport.durations import BadDuration, parse_duration
from homeport.errors import BadRequest
from homeport.server import failures
from homeport.server.served import BY_PATH, GROUPS, SERVED
from homeport.server.settings import Settings

__all__ = [
    "LONG_RUNNING",
    "Query",
    "Target",
    "classify",
    "deadline",
    "pinned_name",
    "served_prefix",
    "truthy",
    "unknown_target",
]

_GROUP_VERSIONS = {(resource.group, resource.version) for resource in SERVED}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}

LONG_RUNNING: Final = frozenset({"attach", "exec", "proxy", "log", "portforward"})
_READS: Final = frozenset({"get", "list"})

Query = Mapping[str, str]
"""The first value of each query parameter; the repeated ones are read from the request."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a resource request is aimed at. `namespace` of a Namespace object is its own name (1.2)."""

    verb: str
    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str
    rest: str = ""


def truthy(value: str | None) -> bool:
    """Read a boolean parameter: absent, `0` and `false` are false, anything else is true (1.8)."""
    return value is not None and value != "0" and value.lower() != "false"


def served_prefix(path: str) -> bool:
    """Tell whether an unknown path is below a served group or version, which decides the form of its 404 (1.6)."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        return len(parts) > 1
    return parts[0] == "apis" and len(parts) > 2 and parts[1] in GROUPS


def classify(request: Request, query: Query) -> Target | None:
    """Return the target of a resource request, or None for everything else. Raises NotFound, MethodNotAllowed."""
    parts = request.path.split("/")[1:]
    if parts and parts[-1] == "":
        parts.pop()
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    if not rest or (group, version) not in _GROUP_VERSIONS:
        return None
    watch_prefix = rest[0] == "watch"
    if watch_prefix:
        rest = rest[1:]
    namespace: str | None = None
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    if not rest:
        raise failures.no_such_resource()
    resource = BY_PATH.get((group, version, rest[0]))
    if resource is None or (namespace is not None and not resource.namespaced):
        if rest[0] == "bindings" and group == "" and namespace and request.method == "POST" and len(rest) == 1:
            return Target("create", BY_PATH["", "v1", "pods"], namespace, None, "binding")
        raise failures.no_such_resource()
    name = rest[1] if len(rest) > 1 else None
    subresource = rest[2] if len(rest) > 2 else ""
    tail = "/".join(rest[3:])
    if (tail and subresource != "proxy") or (name is not None and resource.namespaced and namespace is None):
        raise failures.no_such_resource()
    if subresource and not resource.has_subresource(subresource):
        raise failures.no_such_resource()
    if resource.plural == "namespaces" and group == "":
        namespace = name
    verb = _verb(request.method, name, watch_prefix or (name is None and truthy(query.get("watch"))))
    _check(request.method, verb, resource, namespace, name, subresource)
    return Target(verb, resource, namespace, name, subresource, tail)


def deadline(query: Query, target: Target, settings: Settings) -> float | None:
    """Return the seconds a request may take; None for what lasts by nature. Raises BadRequest (22.2).

    A client may ask for less than the limit, never for more. Reads are answered from memory, so they have a
    deadline only when one is asked for.
    """
    if target.verb == "watch" or target.subresource in LONG_RUNNING:
        return None
    text = query.get("timeout")
    try:
        asked = parse_duration(text) if text else 0.0
    except BadDuration as error:
        raise BadRequest(f"invalid timeout specified in the request URL - {error}") from error
    asked = max(asked, 0.0)
    if target.verb in _READS:
        return min(asked, settings.request_timeout_seconds) if asked else None
    return min(asked or settings.request_timeout_seconds, settings.write_timeout_seconds)


_PINNED: Final = re.compile(r"(?:^|,)metadata\.name==?([^,=!\\/%]+)(?:,|$)")


def pinned_name(query: Query) -> str:
    """Return the one name a field selector leaves, or ""."""
    found = _PINNED.search(query.get("fieldSelector", ""))
    return found.group(1) if found else ""


def unknown_target(request: Request, query: Query) -> Target | None:
    """Read a path like a resource's although no such resource is served, so that it can be refused as one (20.8)."""
    match [part for part in request.path.split("/") if part]:
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            return None
    namespace = None
    if len(rest) >= 3 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else None
    resource = Resource(Gvk(group, version, ""), rest[0], namespace is not None)
    verb = _verb(request.method, name, name is None and truthy(query.get("watch")))
    return Target(verb, resource, namespace, name, rest[2] if len(rest) > 2 else "")


def _verb(method: str, name: str | None, watch: bool) -> str:
    match method:
        case "GET" | "HEAD":
            return "watch" if watch else "get" if name else "list"
        case "DELETE":
            return "delete" if name else "deletecollection"
        case _:
            return _VERBS.get(method, method.lower())


def _check(
    method: str, verb: str, resource: Resource, namespace: str | None, name: str | None, subresource: str
) -> None:
    """Refuse what the resource does not answer to: unknown verbs, writes on a view over all namespaces."""
    if subresource:
        allowed = next(sub.verbs for sub in resource.subresources if sub.name == subresource)
    else:
        allowed = resource.verbs
    wrong_place = (verb == "create" and name is not None and not subresource) or (
        verb in ("update", "patch") and name is None
    )
    everywhere = resource.namespaced and namespace is None and verb in ("create", "deletecollection")
    if verb not in allowed or wrong_place or everywhere or (method == "HEAD" and subresource != "proxy"):
        raise failures.method_not_allowed()
