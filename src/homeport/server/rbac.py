"""Roles and bindings as decisions (api-machinery 20.7): the union of what is granted; nothing is ever taken away."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.server.authorization import Action, Decision
from homeport.server.objects import Tree
from homeport.server.services import Services

__all__ = ["GROUP", "MASTERS", "Grant", "Rbac", "Rule", "merged", "single_rules"]

GROUP: Final = "rbac.authorization.k8s.io"
MASTERS: Final = "system:masters"
_MEMO_LIMIT: Final = 1024


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role: verbs on resources, or on paths."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> "Rule":
        fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
        return cls(*(tuple(tree.get(field) or ()) for field in fields))

    def written(self) -> Tree:
        """Return the rule as it stands in a role."""
        fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
        values = (self.verbs, self.groups, self.resources, self.names, self.paths)
        return {field: list(value) for field, value in zip(fields, values, strict=True) if value}

    def covers(self, action: Action) -> bool:
        """Tell whether the rule grants an action."""
        if action.verb not in self.verbs and "*" not in self.verbs:
            return False
        if action.path:
            return any(_path_matches(path, action.path) for path in self.paths)
        if action.group not in self.groups and "*" not in self.groups:
            return False
        if self.names and action.name not in self.names:
            return False
        return self._names_resource(action.resource, action.subresource)

    def _names_resource(self, resource: str, subresource: str) -> bool:
        if "*" in self.resources:
            return True
        whole = f"{resource}/{subresource}" if subresource else resource
        return whole in self.resources or (bool(subresource) and f"*/{subresource}" in self.resources)

    def includes(self, other: "Rule") -> bool:
        """Tell whether whoever holds this rule holds all of another (single) one."""
        if "*" not in self.verbs and not set(other.verbs) <= set(self.verbs):
            return False
        if other.paths:
            return all(any(_path_matches(mine, path) for mine in self.paths) for path in other.paths)
        if "*" not in self.groups and not set(other.groups) <= set(self.groups):
            return False
        if self.names and not (other.names and set(other.names) <= set(self.names)):
            return False
        return all(self._names_resource(*_split(resource)) for resource in other.resources)


def _split(resource: str) -> tuple[str, str]:
    plural, _, sub = resource.partition("/")
    return plural, sub


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def single_rules(rules: Iterable[Rule]) -> Iterator[Rule]:
    """Break rules down to one verb on one resource or path each."""
    for rule in rules:
        for verb in rule.verbs:
            for path in rule.paths:
                yield Rule((verb,), paths=(path,))
            for group in rule.groups:
                for resource in rule.resources:
                    for name in rule.names or (None,):
                        yield Rule((verb,), (group,), (resource,), () if name is None else (name,))


@dataclass(frozen=True, slots=True)
class Grant:
    """What one binding gives a user, and why; or `missing`, when its role is not there."""

    rules: tuple[Rule, ...]
    why: str
    missing: str = ""


class Rbac:
    """Decides by the roles and bindings of this moment; resolved grants are kept until one of them changes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        kinds = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
        self._codecs = {kind: services.codec(find(kind, GROUP)) for kind in kinds}
        self._caches = {kind: services.hub.cache(codec) for kind, codec in self._codecs.items()}
        self._memo: dict[tuple[str, tuple[str, ...], str], tuple[Grant, ...]] = {}
        self._seen: tuple[int, ...] = ()

    def decide(self, user: User, action: Action) -> Decision:
        """Return whether a user may act, and why or why not."""
        if MASTERS in user.groups:
            return Decision(True)
        missing = []
        for grant in self.grants(user, action.namespace):
            if grant.missing:
                missing.append(grant.missing)
            elif any(rule.covers(action) for rule in grant.rules):
                return Decision(True, grant.why)
        if not missing:
            return Decision(False)
        listed = missing[0] if len(missing) == 1 else "[" + ", ".join(missing) + "]"
        return Decision(False, f"RBAC: {listed}")

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """Return every rule a user holds in a namespace, cluster-wide ones included."""
        return [rule for grant in self.grants(user, namespace) for rule in grant.rules]

    def grants(self, user: User, namespace: str) -> Sequence[Grant]:
        seen = tuple(cache.changed for cache in self._caches.values())
        if seen != self._seen or len(self._memo) > _MEMO_LIMIT:
            self._memo.clear()
            self._seen = seen
        slot = (user.name, user.groups, namespace)
        found = self._memo.get(slot)
        if found is None:
            found = self._memo[slot] = tuple(self._resolve(user, namespace))
        return found

    def role_rules(self, reference: Mapping[str, str], namespace: str) -> tuple[Rule, ...] | None:
        """Return the rules of the role a binding in a namespace refers to; None when it is not there."""
        kind = reference.get("kind", "")
        codec = self._codecs.get(kind)
        if codec is None:
            return None
        found = self._services.storage.find(codec, namespace if kind == "Role" else None, reference.get("name", ""))
        return None if found is None else tuple(Rule.read(rule) for rule in found.tree.get("rules") or ())

    def _resolve(self, user: User, namespace: str) -> Iterator[Grant]:
        for stored in self._caches["ClusterRoleBinding"].entries.values():
            yield from self._granted(stored.tree, user, "")
        if namespace:
            scope = self._codecs["RoleBinding"].scope(namespace)
            for stored in self._caches["RoleBinding"].scan(scope):
                yield from self._granted(stored.tree, user, namespace)

    def _granted(self, binding: Tree, user: User, namespace: str) -> Iterator[Grant]:
        subject = next((each for each in binding.get("subjects", ()) if _is(each, user, namespace)), None)
        if subject is None:
            return
        reference, name = binding["roleRef"], binding["metadata"]["name"]
        rules = self.role_rules(reference, namespace)
        if rules is None:
            yield Grant((), "", f'{reference["kind"].lower()}.{GROUP} "{reference["name"]}" not found')
            return
        bound = f'RoleBinding "{name}/{namespace}"' if namespace else f'ClusterRoleBinding "{name}"'
        role = f'{reference["kind"]} "{reference["name"]}"'
        yield Grant(rules, f"RBAC: allowed by {bound} of {role} to {_described(subject, namespace)}")


def _is(subject: Mapping[str, str], user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return subject["name"] == user.name
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            where = subject.get("namespace") or namespace
            return user.name == f"system:serviceaccount:{where}:{subject['name']}"
    return False


def _described(subject: Mapping[str, str], namespace: str) -> str:
    name = subject["name"]
    if subject["kind"] == "ServiceAccount":
        name = f"{name}/{subject.get('namespace') or namespace}"
    return f'{subject["kind"]} "{name}"'


def merged(rules: Iterable[Rule]) -> list[Rule]:
    """Put single rules that differ in their verb alone together again."""
    out: dict[Rule, list[str]] = {}
    for rule in rules:
        verbs = out.setdefault(replace(rule, verbs=()), [])
        verbs += [verb for verb in rule.verbs if verb not in verbs]
    return [replace(rule, verbs=tuple(verbs)) for rule, verbs in out.items()]
