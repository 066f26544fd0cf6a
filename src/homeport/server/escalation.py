"""Nobody grants what he does not hold (api-machinery 20.7): a check on every write of a role or a binding."""

from collections.abc import Sequence
from typing import Final

from homeport.api.exchange import User
from homeport.api.resources import Resource
from homeport.server import failures
from homeport.server.authorization import Action
from homeport.server.objects import Tree
from homeport.server.rbac import GROUP, MASTERS, Rbac, Rule, merged, single_rules

__all__ = ["Escalation"]

_ROLES: Final = ("Role", "ClusterRole")
_BINDINGS: Final = ("RoleBinding", "ClusterRoleBinding")


class Escalation:
    """Refuses rules beyond the writer's own, unless he may `escalate` or `bind`."""

    def __init__(self, rbac: Rbac) -> None:
        self._rbac = rbac

    def check(self, resource: Resource, namespace: str | None, user: User, tree: Tree) -> None:
        """Check one object about to be written. Raises Forbidden, NotFound."""
        if resource.group != GROUP or MASTERS in user.groups:
            return
        where, name = namespace or "", tree["metadata"].get("name", "")
        if resource.kind in _ROLES:
            if self._may(user, "escalate", resource.plural, where, name):
                return
            rules = tuple(Rule.read(rule) for rule in tree.get("rules") or ())
        elif resource.kind in _BINDINGS:
            reference = tree["roleRef"]
            plural = reference.get("kind", "").lower() + "s"
            if self._may(user, "bind", plural, where, reference.get("name", "")):
                return
            found = self._rbac.role_rules(reference, where)
            if found is None:
                raise failures.not_found(resource, reference.get("name", ""))
            rules = found
        else:
            return
        held = self._rbac.rules(user, where)
        beyond = [rule for rule in single_rules(rules) if not any(mine.includes(rule) for mine in held)]
        if beyond:
            raise failures.forbidden(resource, name, _complaint(user, merged(beyond)))

    def _may(self, user: User, verb: str, plural: str, namespace: str, name: str) -> bool:
        return self._rbac.decide(user, Action(verb, GROUP, plural, "", namespace, name)).allowed


def _complaint(user: User, rules: Sequence[Rule]) -> str:
    lines = sorted((_shown(rule) for rule in rules), key=lambda line: (line.startswith("{Non"), line))
    who = f'user "{user.name}" (groups=[{_quoted(user.groups)}])'
    return "\n".join([f"{who} is attempting to grant RBAC permissions not currently held:", *lines])


def _shown(rule: Rule) -> str:
    parts = (
        ("APIGroups", rule.groups),
        ("Resources", rule.resources),
        ("ResourceNames", rule.names),
        ("NonResourceURLs", rule.paths),
        ("Verbs", rule.verbs),
    )
    listed = (f"{name}:[{_quoted(values)}]" for name, values in parts if values)
    return "{" + ", ".join(listed) + "}"


def _quoted(values: Sequence[str]) -> str:
    return " ".join(f'"{value}"' for value in values)
