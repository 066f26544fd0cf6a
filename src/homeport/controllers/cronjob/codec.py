"""JSON trees to the values CronJob decisions are made on, the Jobs it makes, and the status it writes."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from homeport.api.owners import controller_reference
from homeport.client.contract import Object
from homeport.clock import parse_time, rfc3339
from homeport.controllers.cronjob.model import Child, CronJob, Reference

__all__ = ["decode_child", "decode_cron_job", "encode_status", "new_job", "reference"]

SCHEDULED_AT: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def decode_cron_job(obj: Object) -> CronJob:
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    last = status.get("lastScheduleTime")
    return CronJob(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        schedule=spec["schedule"],
        created=parse_time(metadata["creationTimestamp"]),
        zone=spec.get("timeZone"),
        policy=spec.get("concurrencyPolicy", "Allow"),
        suspended=bool(spec.get("suspend")),
        deadline_seconds=spec.get("startingDeadlineSeconds"),
        keep_successful=spec.get("successfulJobsHistoryLimit"),
        keep_failed=spec.get("failedJobsHistoryLimit"),
        deleting="deletionTimestamp" in metadata,
        active=tuple(
            Reference(each.get("name", ""), each.get("uid", ""), each.get("resourceVersion", ""))
            for each in status.get("active") or ()
        ),
        last_scheduled=parse_time(last) if last else None,
        last_success=status.get("lastSuccessfulTime") or "",
    )


def decode_child(job: Object) -> Child:
    metadata, status = job["metadata"], job.get("status") or {}
    finished = [
        each["type"]
        for each in status.get("conditions") or ()
        if each["type"] in ("Complete", "Failed") and each["status"] == "True"
    ]
    return Child(
        metadata["name"],
        metadata["uid"],
        finished[0] if finished else "",
        status.get("startTime") or "",
        status.get("completionTime") or "",
    )


def reference(job: Object) -> Reference:
    metadata = job["metadata"]
    return Reference(metadata["name"], metadata["uid"], metadata["resourceVersion"])


def new_job(owner: Object, name: str, when: float, zone: tzinfo | None) -> dict[str, Any]:
    """Return the Job of a scheduled time; `zone` is the one its annotation is written in."""
    template = owner["spec"]["jobTemplate"]
    given: Mapping[str, Any] = template.get("metadata") or {}
    shown = datetime.fromtimestamp(when, zone or UTC).isoformat().replace("+00:00", "Z")
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "annotations": {**(given.get("annotations") or {}), SCHEDULED_AT: shown},
        "ownerReferences": [controller_reference(owner).as_json()],
    }
    if given.get("labels"):
        metadata["labels"] = given["labels"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


def encode_status(cron: CronJob) -> dict[str, Any]:
    """Return the whole `status` object."""
    out: dict[str, Any] = {}
    if cron.active:
        out["active"] = [
            {
                "kind": "Job",
                "namespace": cron.namespace,
                "name": each.name,
                "uid": each.uid,
                "apiVersion": "batch/v1",
                "resourceVersion": each.version,
            }
            for each in cron.active
        ]
    if cron.last_scheduled is not None:
        out["lastScheduleTime"] = rfc3339(cron.last_scheduled)
    if cron.last_success:
        out["lastSuccessfulTime"] = cron.last_success
    return out
