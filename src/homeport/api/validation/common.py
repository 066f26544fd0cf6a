"""What the rules of workloads have in common: counters, amounts, selectors and pod templates."""

import re
from typing import Any, Final

from homeport.api.selectors import label_selector_from_object
from homeport.api.validation.errors import FieldError, forbidden, not_supported, refused
from homeport.api.validation.metadata import in_schema_order, validate_annotations, validate_labels
from homeport.api.validation.pod_annotations import validate_pod_annotations
from homeport.api.validation.pods import validate_pod_spec
from homeport.errors import BadRequest

__all__ = [
    "at_most",
    "at_most_all",
    "collisions",
    "int_or_percent",
    "is_zero",
    "mismatch",
    "not_negative",
    "pod_template",
    "runs_forever",
    "same_selector",
    "selects",
    "shown_selector",
    "template_metadata",
]

Tree = dict[str, Any]

_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
_PERCENT: Final = re.compile("[0-9]+%")
_PERCENT_TEXT: Final = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def not_negative(tree: Tree, fields: tuple[str, ...], path: str) -> list[FieldError]:
    return [refused(f"{path}.{field}", value, _NOT_NEGATIVE) for field in fields if (value := tree.get(field) or 0) < 0]


def int_or_percent(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str):
        return [] if _PERCENT.fullmatch(value) else [refused(path, value, _PERCENT_TEXT)]
    return [refused(path, value, _NOT_NEGATIVE)] if (value or 0) < 0 else []


def at_most_all(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        return [refused(path, value, "must not be greater than 100%")]
    return []


def is_zero(value: int | str | None) -> bool:
    return value == 0 or (isinstance(value, str) and bool(_PERCENT.fullmatch(value)) and int(value[:-1]) == 0)


def at_most(status: Tree, fields: tuple[str, ...], bound: str, text: str) -> list[FieldError]:
    limit = status.get(bound, 0)
    return [refused(f"status.{field}", value, text) for field in fields if (value := status.get(field) or 0) > limit]


def collisions(status: Tree, old: Tree) -> list[FieldError]:
    before, after = old.get("collisionCount"), status.get("collisionCount")
    if before is not None and (after is None or after < before):
        return [refused("status.collisionCount", after or 0, "cannot be decremented")]
    return []


def mismatch(spec: Tree) -> list[FieldError]:
    """The selector must pick the pods the template makes."""
    labels = (spec["template"].get("metadata") or {}).get("labels", {})
    if selects(spec.get("selector"), labels):
        return []
    shown = dict(sorted(labels.items())) if labels else None
    text = "`selector` does not match template `labels`"
    return [refused("spec.template.metadata.labels", shown, text)]


def selects(selector: Tree | None, labels: dict[str, str]) -> bool:
    """Return whether a selector picks these labels; one that is not valid has been reported as such."""
    try:
        return label_selector_from_object(selector).matches(labels)
    except (BadRequest, KeyError):
        return True


def same_selector(new: Tree, old: Tree) -> list[FieldError]:
    selector = new["spec"].get("selector")
    if selector == old["spec"].get("selector"):
        return []
    return [refused("spec.selector", shown_selector(selector), "field is immutable")]


def shown_selector(selector: Tree | None) -> Tree | None:
    """Return a selector as refusals print it."""
    shown = in_schema_order("meta.v1.LabelSelector", selector) if selector else selector
    if shown and "matchLabels" in shown:
        shown["matchLabels"] = dict(sorted(shown["matchLabels"].items()))
    return shown


def pod_template(template: Tree, path: str, pod_spec: Tree | None = None) -> list[FieldError]:
    """Check a pod template; `pod_spec` is its spec as its pods will have it, where that is another one."""
    pod_spec = template["spec"] if pod_spec is None else pod_spec
    errors = template_metadata(template, path) + validate_pod_spec(pod_spec, f"{path}.spec")
    if pod_spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        errors.append(forbidden(f"{path}.spec.ephemeralContainers", text))
    return errors


def template_metadata(template: Tree, path: str) -> list[FieldError]:
    metadata = template.get("metadata") or {}
    annotations = metadata.get("annotations", {})
    errors = validate_labels(metadata.get("labels", {}), f"{path}.labels")
    errors += validate_annotations(annotations, f"{path}.annotations")
    return errors + validate_pod_annotations(annotations, template.get("spec") or {}, f"{path}.annotations")


def runs_forever(pod_spec: Tree, path: str, kind: str) -> list[FieldError]:
    """Pods of a workload are restarted and have no deadline."""
    errors: list[FieldError] = []
    if pod_spec.get("restartPolicy") != "Always":
        errors.append(not_supported(f"{path}.restartPolicy", pod_spec.get("restartPolicy", ""), ("Always",)))
    if "activeDeadlineSeconds" in pod_spec:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden(f"{path}.activeDeadlineSeconds", text))
    return errors
