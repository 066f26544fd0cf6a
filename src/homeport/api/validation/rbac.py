"""Rules of roles and their bindings (api-machinery 20.7)."""

from typing import Any, Final

from homeport.api.defaults.rbac import GROUP
from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, GoStruct, not_supported, refused, required
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update

__all__ = [
    "validate_binding",
    "validate_binding_update",
    "validate_cluster_binding",
    "validate_cluster_binding_update",
    "validate_cluster_role",
    "validate_cluster_role_update",
    "validate_role",
    "validate_role_update",
]

Tree = dict[str, Any]

_SUBJECT_GROUPS: Final = {"User": GROUP, "Group": GROUP, "ServiceAccount": ""}


def validate_role(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.path_segment) + _rules(tree, namespaced=True)


def validate_role_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + _rules(new, namespaced=True)


def validate_cluster_role(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.path_segment) + _cluster_role(tree)


def validate_cluster_role_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + _cluster_role(new)


def validate_binding(tree: Tree) -> list[FieldError]:
    metadata = validate_metadata(tree["metadata"], name_rule=names.path_segment)
    return metadata + _binding(tree, ("Role", "ClusterRole"), namespaced=True)


def validate_binding_update(new: Tree, old: Tree) -> list[FieldError]:
    metadata = validate_metadata_update(new["metadata"], old["metadata"])
    return metadata + _binding(new, ("Role", "ClusterRole"), namespaced=True) + _same_role(new, old)


def validate_cluster_binding(tree: Tree) -> list[FieldError]:
    metadata = validate_metadata(tree["metadata"], name_rule=names.path_segment)
    return metadata + _binding(tree, ("ClusterRole",), namespaced=False)


def validate_cluster_binding_update(new: Tree, old: Tree) -> list[FieldError]:
    metadata = validate_metadata_update(new["metadata"], old["metadata"])
    return metadata + _binding(new, ("ClusterRole",), namespaced=False) + _same_role(new, old)


def _cluster_role(tree: Tree) -> list[FieldError]:
    errors = _rules(tree, namespaced=False)
    aggregation = tree.get("aggregationRule")
    if aggregation is not None and not aggregation.get("clusterRoleSelectors"):
        errors.append(required("aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required"))
    return errors


def _rules(tree: Tree, *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, rule in enumerate(tree.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        if urls := rule.get("nonResourceURLs"):
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                errors.append(refused(f"{path}.nonResourceURLs", urls, text))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(refused(f"{path}.nonResourceURLs", urls, text))
            continue
        if not rule.get("apiGroups"):
            errors.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            errors.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return errors


def _binding(tree: Tree, kinds: tuple[str, ...], *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    reference = tree["roleRef"]
    if reference.get("apiGroup") != GROUP:
        errors.append(not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (GROUP,)))
    if reference.get("kind", "") not in kinds:
        errors.append(not_supported("roleRef.kind", reference.get("kind", ""), kinds))
    if not reference.get("name"):
        errors.append(required("roleRef.name"))
    else:
        problems = names.path_segment(reference["name"])
        errors += [refused("roleRef.name", reference["name"], problem) for problem in problems]
    for index, subject in enumerate(tree.get("subjects", ())):
        errors += _subject(subject, f"subjects[{index}]", namespaced=namespaced)
    return errors


def _subject(subject: Tree, path: str, *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    name, kind = subject.get("name", ""), subject.get("kind", "")
    if not name:
        errors.append(required(f"{path}.name"))
    if kind not in _SUBJECT_GROUPS:
        return [*errors, not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))]
    group = _SUBJECT_GROUPS[kind]
    if kind == "ServiceAccount":
        if name:
            errors += [refused(f"{path}.name", name, problem) for problem in names.dns1123_subdomain(name)]
        if not namespaced and not subject.get("namespace"):
            errors.append(required(f"{path}.namespace"))
    if subject.get("apiGroup", "") != group:
        errors.append(not_supported(f"{path}.apiGroup", subject.get("apiGroup", ""), (group,)))
    return errors


def _same_role(new: Tree, old: Tree) -> list[FieldError]:
    if new["roleRef"] == old["roleRef"]:
        return []
    return [refused("roleRef", GoStruct("rbac.v1.RoleRef", new["roleRef"]), "cannot change roleRef")]
