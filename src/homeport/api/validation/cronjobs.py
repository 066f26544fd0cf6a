"""Rules of CronJobs (workloads 12)."""

import re
from typing import Any, Final

from homeport.api.cron import BadSchedule, parse_schedule, zone_named
from homeport.api.validation import names
from homeport.api.validation.common import not_negative, shown_selector
from homeport.api.validation.errors import FieldError, not_supported, refused, required
from homeport.api.validation.jobs import validate_job_spec
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update

__all__ = ["NAME_LIMIT", "validate_cron_job", "validate_cron_job_update"]

Tree = dict[str, Any]

NAME_LIMIT: Final = 52
"""Job names end in 11 more characters, and are labels."""

_ZONE_PART: Final = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")


def validate_cron_job(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain) + _spec(tree["spec"], None)
    name = tree["metadata"].get("name", "")
    if len(name) > NAME_LIMIT:
        errors.append(refused("metadata.name", name, f"must be no more than {NAME_LIMIT} characters"))
    return errors


def validate_cron_job_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + _spec(new["spec"], old["spec"])


def _spec(spec: Tree, old: Tree | None) -> list[FieldError]:
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if not schedule:
        errors = [required("spec.schedule")]
    else:
        errors = _schedule(schedule, zone, tolerant=old is not None and "TZ" in old.get("schedule", ""))
    errors += not_negative(spec, ("startingDeadlineSeconds",), "spec")
    if old is None or old.get("timeZone") != zone:
        errors += _zone(zone)
    policy = spec.get("concurrencyPolicy", "")
    if not policy:
        errors.append(required("spec.concurrencyPolicy"))
    elif policy not in ("Allow", "Forbid", "Replace"):
        errors.append(not_supported("spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace")))
    errors += _job(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")
    return errors + not_negative(spec, ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "spec")


def _job(spec: Tree, path: str) -> list[FieldError]:
    errors = validate_job_spec(spec, path)
    if selector := spec.get("selector"):
        errors.append(refused(f"{path}.selector", shown_selector(selector), "`selector` will be auto-generated"))
    if spec.get("manualSelector"):
        errors.append(not_supported(f"{path}.manualSelector", True, ("nil", "false")))
    return errors


def _schedule(schedule: str, zone: str | None, *, tolerant: bool) -> list[FieldError]:
    """Check a schedule; `tolerant` of a zone in it, because the stored one has one."""
    errors: list[FieldError] = []
    try:
        parse_schedule(schedule)
    except BadSchedule as error:
        errors.append(refused("spec.schedule", schedule, str(error)))
    if "TZ" in schedule and not tolerant:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(refused("spec.schedule", schedule, text))
    elif "TZ" in schedule and zone is not None:
        text = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        errors.append(refused("spec.schedule", schedule, text))
    return errors


def _zone(zone: str | None) -> list[FieldError]:
    if zone is None:
        return []
    if not zone:
        return [refused("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _ZONE_PART.fullmatch(part):
            return [refused("spec.timeZone", zone, f"unknown time zone {zone}")]
    errors: list[FieldError] = []
    if zone.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        errors.append(refused("spec.timeZone", zone, text))
    try:
        if zone != "Local":
            zone_named(zone)
    except BadSchedule as error:
        errors.append(refused("spec.timeZone", zone, str(error)))
    return errors
