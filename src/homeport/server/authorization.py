"""Who may do what. Until roles are served there are two classes: those who are known, and the anonymous."""

from typing import Final

from homeport.api.exchange import User
from homeport.errors import Details, Forbidden
from homeport.server.authentication import ANONYMOUS
from homeport.server.routing import Target

__all__ = ["PUBLIC_PATHS", "Authorizer", "authorize"]

PUBLIC_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")


class Authorizer:
    """Decides by user and target."""

    def allows(self, user: User, target: Target) -> bool:
        return user.name != ANONYMOUS.name

    def path(self, user: User, method: str, path: str) -> None:
        """Refuse a request that is about no resource. Raises Forbidden."""
        if user.name == ANONYMOUS.name and not path.startswith(PUBLIC_PATHS):
            verb = method.lower()
            raise Forbidden(f'forbidden: User "{user.name}" cannot {verb} path "{path}"', Details())


def authorize(authorizer: Authorizer, user: User, target: Target) -> None:
    """Refuse what the user may not do. Raises Forbidden (6.2)."""
    if authorizer.allows(user, target):
        return
    resource = target.resource
    plural = f"{resource.plural}/{target.subresource}" if target.subresource else resource.plural
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    quoted = f' "{target.name}"' if target.name else ""
    raise Forbidden(
        f'{resource.group_resource}{quoted} is forbidden: User "{user.name}" cannot {target.verb} resource "{plural}" '
        f'in API group "{resource.group}" {where}',
        Details(name=target.name or "", group=resource.group, kind=resource.plural),
    )
