"""Asking as somebody else (api-machinery 20.6)."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from homeport.api.exchange import User
from homeport.errors import BadRequest
from homeport.server.authentication import ANONYMOUS, AUTHENTICATED
from homeport.server.authorization import Action, Authorizer

__all__ = ["impersonated", "may_impersonate"]

_PREFIX: Final = "impersonate-"
_USER: Final = "impersonate-user"
_GROUP: Final = "impersonate-group"
_UID: Final = "impersonate-uid"
_EXTRA: Final = "impersonate-extra-"
_ACCOUNT: Final = "system:serviceaccount:"


def impersonated(headers: Mapping[str, str]) -> User | None:
    """Return the user a request wants to be, or None. Raises BadRequest when everything but a name is given."""
    if not any(key.startswith(_PREFIX) for key in headers):
        return None
    name = headers.get(_USER, "")
    groups = tuple(group for group in headers.get(_GROUP, "").split(", ") if group)
    uid = headers.get(_UID, "")
    extra = {unquote(key.removeprefix(_EXTRA)): (value,) for key, value in headers.items() if key.startswith(_EXTRA)}
    if not name:
        if groups or uid or extra:
            raise BadRequest(f"requested {_go_user(groups, uid, extra)} without impersonating a user name")
        return None
    if name == ANONYMOUS.name:
        return User(name, uid, groups or ANONYMOUS.groups, extra)
    if name.startswith(_ACCOUNT) and not groups:
        namespace = name.split(":")[2]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    if AUTHENTICATED not in groups:
        groups = (*groups, AUTHENTICATED)
    return User(name, uid, groups, extra)


def may_impersonate(authorizer: Authorizer, user: User, wanted: User, headers: Mapping[str, str]) -> bool:
    """Tell whether a user may be another, with all that was asked for."""
    if wanted.name.startswith(_ACCOUNT):
        _, _, namespace, name = (*wanted.name.split(":"), "", "")[:4]
        actions = [Action("impersonate", "", "serviceaccounts", "", namespace, name)]
    else:
        actions = [Action("impersonate", "", "users", "", "", wanted.name)]
    asked = [group for group in headers.get(_GROUP, "").split(", ") if group]
    actions += [Action("impersonate", "", "groups", "", "", group) for group in asked]
    if wanted.uid:
        actions.append(Action("impersonate", "authentication.k8s.io", "uids", "", "", wanted.uid))
    for key, values in wanted.extra.items():
        actions += [Action("impersonate", "authentication.k8s.io", "userextras", key, "", value) for value in values]
    return all(authorizer.decide(user, action).allowed for action in actions)


def _go_user(groups: tuple[str, ...], uid: str, extra: Mapping[str, tuple[str, ...]]) -> str:
    listed = "[]string{" + ", ".join(f'"{group}"' for group in groups) + "}" if groups else "[]string(nil)"
    pairs = ", ".join(f'"{key}":[]string{{"{values[0]}"}}' for key, values in extra.items())
    shown = f"map[string][]string{{{pairs}}}" if extra else "map[string][]string(nil)"
    return f'&user.DefaultInfo{{Name:"", UID:"{uid}", Groups:{listed}, Extra:{shown}}}'
