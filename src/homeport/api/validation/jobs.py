"""Rules of Jobs, but for what their status says (workloads 11)."""

from typing import Any, Final

from homeport.api.validation import names
from homeport.api.validation.common import (
    mismatch,
    not_negative,
    pod_template,
    same_selector,
    selects,
    shown_selector,
)
from homeport.api.validation.differences import internal_form
from homeport.api.validation.errors import FieldError, GoStruct, not_supported, refused, required, too_long
from homeport.api.validation.job_policies import validate_failure_policy, validate_success_policy
from homeport.api.validation.metadata import in_schema_order, validate_metadata, validate_metadata_update
from homeport.api.validation.selectors import validate_label_selector

__all__ = ["validate_job", "validate_job_spec", "validate_job_update"]

Tree = dict[str, Any]

MOST_PARALLEL: Final = 100_000
MOST_FAILED: Final = 100_000
MANY: Final = 100_000
MOST_OF_MANY: Final = 10_000
MANAGER_LIMIT: Final = 63

_UID_LABEL: Final = "batch.kubernetes.io/controller-uid"
_NAME_LABEL: Final = "batch.kubernetes.io/job-name"
_COUNTERS: Final = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_OF_MANY: Final = f"when completions are above {MANY} and used with backoff limit per index"


def validate_job(tree: Tree) -> list[FieldError]:
    return _job(tree, prefixed=True)


def validate_job_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check an update. The whole Job is checked, and then what of it changed; so most is told twice, as upstream."""
    before = (old["spec"]["template"].get("metadata") or {}).get("labels", {})
    errors = _job(new, prefixed=_NAME_LABEL in before and _UID_LABEL in before)
    errors += validate_metadata_update(new["metadata"], old["metadata"])
    errors += _selected(new["spec"], validate_job_spec(new["spec"], "spec"))
    return errors + _completions(new["spec"], old["spec"]) + same_selector(new, old) + _frozen(new["spec"], old)


def _job(tree: Tree, *, prefixed: bool) -> list[FieldError]:
    spec, name = tree["spec"], tree["metadata"].get("name", "")
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    errors += _generated(tree, prefixed=prefixed)
    errors += _selected(spec, validate_job_spec(spec, "spec"))
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == "Indexed" and completions > 0:
        hostname = f"{name}-{completions - 1}"
        if names.dns1123_label(hostname):
            text = f"will not able to create pod with invalid DNS label: {hostname}"
            errors.append(refused("metadata.name", name, text))
    return errors


def _generated(tree: Tree, *, prefixed: bool) -> list[FieldError]:
    """Unless the selector is the client's own, the template has the labels the server gives, and the selector fits."""
    spec, metadata = tree["spec"], tree["metadata"]
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return []
    wanted = {"controller-uid": metadata.get("uid", ""), "job-name": metadata.get("name", "")}
    if prefixed:
        wanted |= {_UID_LABEL: metadata.get("uid", ""), _NAME_LABEL: metadata.get("name", "")}
    labels = (spec["template"].get("metadata") or {}).get("labels", {})
    errors = []
    for key, value in wanted.items():
        path = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            errors.append(required(path, f"must be '{value}'"))
        elif labels[key] != value:
            errors.append(refused(path, dict(sorted(labels.items())), f"must be '{value}'"))
    if not selects(selector, wanted):
        errors.append(refused("spec.selector", shown_selector(selector), "`selector` not auto-generated"))
    return errors


def _selected(spec: Tree, errors: list[FieldError]) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += validate_label_selector(selector, "spec.selector")
    return errors + mismatch(spec)


def validate_job_spec(spec: Tree, path: str) -> list[FieldError]:
    """Check what a Job and the template of a CronJob have in common."""
    errors = not_negative(spec, _COUNTERS, path)
    if "maxFailedIndexes" in spec and "backoffLimitPerIndex" not in spec:
        errors.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if (manager := spec.get("managedBy")) is not None:
        errors += _manager(manager, f"{path}.managedBy")
    mode = spec.get("completionMode", "NonIndexed")
    if mode == "Indexed":
        errors += _indexed(spec, path)
    elif mode != "NonIndexed":
        errors.append(not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed")))
    else:
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if field in spec:
                errors.append(refused(f"{path}.{field}", spec[field], "requires indexed completion mode"))
    if (policy := spec.get("podFailurePolicy")) is not None:
        errors += validate_failure_policy(spec, policy, f"{path}.podFailurePolicy")
    if (success := spec.get("successPolicy")) is not None:
        if mode == "Indexed":
            errors += validate_success_policy(success, spec.get("completions") or 0, f"{path}.successPolicy")
        else:
            shown = GoStruct("batch.v1.SuccessPolicy", success)
            errors.append(refused(f"{path}.successPolicy", shown, "requires indexed completion mode"))
    errors += _replacement(spec, f"{path}.podReplacementPolicy")
    return errors + pod_template(spec["template"], f"{path}.template") + _restarts(spec, path)


def _manager(manager: str, path: str) -> list[FieldError]:
    if not manager:
        return [required(path)]
    host, _, rest = manager.partition("/")
    if not host or not rest:
        errors = [refused(path, manager, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    else:
        errors = [refused(path, host, problem) for problem in names.dns1123_subdomain(host)]
    if len(manager) > MANAGER_LIMIT:
        errors.append(too_long(path, MANAGER_LIMIT))
    return errors


def _indexed(spec: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    failed = spec.get("maxFailedIndexes")
    if completions is None:
        errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism > MOST_PARALLEL:
        text = f"must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"
        errors.append(refused(f"{path}.parallelism", parallelism, text))
    if failed is not None and completions is not None and failed > completions:
        errors.append(refused(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions"))
    if failed is not None and failed > MOST_FAILED:
        errors.append(refused(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {MOST_FAILED}"))
    if (completions or 0) > MANY and "backoffLimitPerIndex" in spec:
        text = f"must be less than or equal to {MOST_OF_MANY} {_OF_MANY}"
        if failed is None:
            errors.append(required(f"{path}.maxFailedIndexes", f"must be specified when completions is above {MANY}"))
        if parallelism > MOST_OF_MANY:
            errors.append(refused(f"{path}.parallelism", parallelism, text))
        if failed is not None and failed > MOST_OF_MANY:
            errors.append(refused(f"{path}.maxFailedIndexes", failed, text))
    return errors


def _replacement(spec: Tree, path: str) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    allowed = ("Failed",) if "podFailurePolicy" in spec else ("Failed", "TerminatingOrFailed")
    return [] if policy is None or policy in allowed else [not_supported(path, policy, allowed)]


def _restarts(spec: Tree, path: str) -> list[FieldError]:
    policy, here = spec["template"]["spec"].get("restartPolicy", ""), f"{path}.template.spec.restartPolicy"
    if policy in ("", "Always"):
        return [required(here, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(here, policy, ("OnFailure", "Never"))]
    if "podFailurePolicy" in spec and policy != "Never":
        return [refused(here, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def _completions(spec: Tree, old: Tree) -> list[FieldError]:
    """The number of completions stays; an indexed Job may change it together with its parallelism."""
    before, after = old.get("completions"), spec.get("completions")
    if before == after:
        return []
    if spec.get("completionMode") != "Indexed":
        return [refused("spec.completions", after, "field is immutable")]
    if after is not None and after != spec.get("parallelism"):
        return [refused("spec.completions", after, "can only be modified in tandem with spec.parallelism")]
    return []


def _frozen(spec: Tree, old: Tree) -> list[FieldError]:
    errors = _template_changes(spec["template"], old)
    before = old["spec"]
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        if spec.get(field) != before.get(field):
            kind = {"podFailurePolicy": "PodFailurePolicy", "successPolicy": "SuccessPolicy"}.get(field)
            value = spec.get(field)
            shown = GoStruct(f"batch.v1.{kind}", value) if kind and value is not None else value
            errors.append(refused(f"spec.{field}", shown, "field is immutable"))
    return errors


def _template_changes(template: Tree, old: Tree) -> list[FieldError]:
    """A template stays as it is, but for where its pods may go and what they take, while the Job is at rest."""
    before, at_rest = old["spec"]["template"], _at_rest(old)
    if at_rest:
        before = _with_placement(before, template)
    if template == before:
        return []
    if at_rest:
        wanted, stored = template["spec"], _with_resources(before["spec"], template["spec"])
        shown = internal_form("PodSpec", wanted)
        return [] if wanted == stored else [refused("spec.template.spec", shown, "field is immutable")]
    metadata = in_schema_order("meta.v1.ObjectMeta", template.get("metadata") or {})
    shown = {**_sorted(metadata), "Spec": internal_form("PodSpec", template["spec"])}
    return [refused("spec.template", shown, "field is immutable")]


def _at_rest(job: Tree) -> bool:
    """Whether the Job is suspended, and its controller has seen that and ended all its pods."""
    status = job.get("status", {})
    suspended = any(
        each.get("type") == "Suspended" and each.get("status") == "True" for each in status.get("conditions", ())
    )
    return bool(job["spec"].get("suspend") and suspended and not status.get("active"))


def _with_placement(template: Tree, wanted: Tree) -> Tree:
    """Return the stored template with everything of the wanted one that says where its pods may run."""
    spec = dict(template["spec"])
    for field in ("nodeSelector", "tolerations", "schedulingGates"):
        _take(spec, wanted["spec"], field)
    affinity = dict(spec.get("affinity") or {})
    _take(affinity, wanted["spec"].get("affinity") or {}, "nodeAffinity")
    spec.pop("affinity", None)
    if affinity or "affinity" in wanted["spec"]:
        spec["affinity"] = affinity
    metadata = dict(template.get("metadata") or {})
    for field in ("annotations", "labels"):
        _take(metadata, wanted.get("metadata") or {}, field)
    return {**template, "spec": spec, **({"metadata": metadata} if "metadata" in wanted else {})}


def _with_resources(spec: Tree, wanted: Tree) -> Tree:
    out = dict(spec)
    for group in ("containers", "initContainers"):
        stored, asked = spec.get(group) or [], wanted.get(group) or []
        if stored and [each["name"] for each in stored] == [each["name"] for each in asked]:
            out[group] = [
                {**one, "resources": other.get("resources", {})} for one, other in zip(stored, asked, strict=True)
            ]
    return out


def _take(into: Tree, source: Tree, field: str) -> None:
    if field in source:
        into[field] = source[field]
    else:
        into.pop(field, None)


def _sorted(metadata: Tree) -> Tree:
    return {key: dict(sorted(value.items())) if isinstance(value, dict) else value for key, value in metadata.items()}
