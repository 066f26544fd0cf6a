"""Who may do what. Until roles are served there are two classes: those who are known, and the anonymous."""

from dataclasses import dataclass
from typing import Final

from homeport.api.exchange import User
from homeport.errors import Details, Forbidden
from homeport.server.authentication import ANONYMOUS
from homeport.server.routing import Target

__all__ = ["PUBLIC_PATHS", "Action", "Authorizer", "authorize", "authorize_path"]

PUBLIC_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")


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


class Authorizer:
    """Decides by user and action."""

    def allows(self, user: User, action: Action) -> bool:
        return user.name != ANONYMOUS.name or action.path.startswith(PUBLIC_PATHS)


def authorize(authorizer: Authorizer, user: User, target: Target) -> None:
    """Refuse what the user may not do. Raises Forbidden (6.2)."""
    resource = target.resource
    action = Action(
        target.verb, resource.group, resource.plural, target.subresource, target.namespace or "", target.name or ""
    )
    if authorizer.allows(user, action):
        return
    plural = f"{resource.plural}/{target.subresource}" if target.subresource else resource.plural
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    quoted = f' "{target.name}"' if target.name else ""
    raise Forbidden(
        f'{resource.group_resource}{quoted} is forbidden: User "{user.name}" cannot {target.verb} resource "{plural}" '
        f'in API group "{resource.group}" {where}',
        Details(name=target.name or "", group=resource.group, kind=resource.plural),
    )


def authorize_path(authorizer: Authorizer, user: User, method: str, path: str) -> None:
    """Refuse a request that is about no resource. Raises Forbidden."""
    verb = method.lower()
    if not authorizer.allows(user, Action(verb, path=path)):
        raise Forbidden(f'forbidden: User "{user.name}" cannot {verb} path "{path}"', Details())
