"""Who may do what: the question, the answer, and how a refusal is told (api-machinery 6.2, 20)."""

from dataclasses import dataclass
from typing import Final, Protocol

from homeport.api.exchange import User
from homeport.errors import Details, Forbidden
from homeport.server.authentication import ANONYMOUS
from homeport.server.routing import Query, Target, pinned_name

__all__ = [
    "PUBLIC_PATHS",
    "Action",
    "Authorizer",
    "Decision",
    "KnownUsers",
    "authorize",
    "authorize_path",
    "check",
    "refusal",
]

PUBLIC_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")
_STREAMS: Final = ("exec", "attach", "portforward")


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody wants to do: a verb on a resource, or a method on a `path`."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes or no, and the reason as far as there is one to tell."""

    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    """Decides by user and action."""

    def decide(self, user: User, action: Action) -> Decision: ...


class KnownUsers:
    """Two classes: those who are known may do everything, the anonymous see the public paths."""

    def decide(self, user: User, action: Action) -> Decision:
        return Decision(user.name != ANONYMOUS.name or action.path.startswith(PUBLIC_PATHS))


def authorize(authorizer: Authorizer, user: User, target: Target, query: Query) -> None:
    """Refuse what the user may not do. Raises Forbidden.

    A list or watch of the one object a field selector names is asked for by that name (1.3); a stream opened by GET
    needs `create` as well (17.1).
    """
    name = target.name or (pinned_name(query) if target.verb in ("list", "watch") else "")
    check(authorizer, user, target, target.verb, name)
    if target.verb == "get" and target.subresource in _STREAMS:
        check(authorizer, user, target, "create", name)


def check(authorizer: Authorizer, user: User, target: Target, verb: str, name: str) -> None:
    """Refuse one verb on a target. Raises Forbidden."""
    resource = target.resource
    action = Action(verb, resource.group, resource.plural, target.subresource, target.namespace or "", name)
    decision = authorizer.decide(user, action)
    if not decision.allowed:
        raise refusal(user, target, verb, name, decision.reason)


def refusal(user: User, target: Target, verb: str, name: str, reason: str = "") -> Forbidden:
    resource = target.resource
    plural = f"{resource.plural}/{target.subresource}" if target.subresource else resource.plural
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    quoted = f' "{name}"' if name else ""
    told = f": {reason}" if reason else ""
    return Forbidden(
        f'{resource.group_resource}{quoted} is forbidden: User "{user.name}" cannot {verb} resource "{plural}" '
        f'in API group "{resource.group}" {where}{told}',
        Details(name=name, group=resource.group, kind=resource.plural),
    )


def authorize_path(authorizer: Authorizer, user: User, method: str, path: str) -> None:
    """Refuse a request that is about no resource. Raises Forbidden."""
    verb = method.lower()
    decision = authorizer.decide(user, Action(verb, path=path))
    if not decision.allowed:
        told = f": {decision.reason}" if decision.reason else ""
        raise Forbidden(f'forbidden: User "{user.name}" cannot {verb} path "{path}"{told}', Details())
