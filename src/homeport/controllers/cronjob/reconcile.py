"""Which Job is due, what became of the others, and which are old enough to go. Nothing here touches anything.

Source: `workloads` 12.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from homeport.api.cron import Schedule
from homeport.controllers.cronjob.model import Child, CronJob, Decision, Review

__all__ = ["decide", "job_name", "next_look", "outdated", "review"]

AFTER_THE_TIME: Final = 0.1
"""Seconds a pass comes after the time it is for."""

MANY: Final = 100
_NORMAL: Final = "Normal"
_WARNING: Final = "Warning"
_TOO_MANY: Final = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
_NEVER: Final = "time difference between two schedules is less than 1 second"
_BUSY: Final = "Not starting job because prior execution is running and concurrency policy is Forbid"


def job_name(cron: CronJob, when: float) -> str:
    """Return the name of the Job of a scheduled time: the same for everybody, so it is started once."""
    return f"{cron.name}-{int(when) // 60}"


def outdated(cron: CronJob, jobs: Sequence[Child]) -> list[Child]:
    """Return the finished Jobs beyond the history limits, oldest first."""
    gone: list[Child] = []
    for kind, limit in (("Complete", cron.keep_successful), ("Failed", cron.keep_failed)):
        if limit is not None:
            finished = [job for job in jobs if job.finished == kind]
            by_age = sorted(finished, key=lambda job: (not job.started, job.started, job.name))
            gone += by_age[: max(0, len(by_age) - limit)]
    return gone


def review(cron: CronJob, jobs: Sequence[Child]) -> Review:
    """Return what is to be said of the Jobs, and which of them still run."""
    events: list[tuple[str, str, str]] = []
    known = {job.uid: job for job in jobs}
    listed = {reference.uid for reference in cron.active}
    last = cron.last_success
    for job in jobs:
        if not job.finished and job.uid not in listed:
            text = f"Saw a job that the controller did not create or forgot: {job.name}"
            events.append((_WARNING, "UnexpectedJob", text))
        elif job.finished and job.uid in listed:
            text = f"Saw completed job: {job.name}, condition: {job.finished}"
            events.append((_NORMAL, "SawCompletedJob", text))
        if job.finished == "Complete" and job.completed > last:
            last = job.completed
    active = tuple(each for each in cron.active if each.uid not in known or not known[each.uid].finished)
    missing = tuple(each for each in cron.active if each.uid not in known)
    return Review(active, missing, last, tuple(events))


def decide(cron: CronJob, schedule: Schedule, zone: tzinfo | None, now: float) -> Decision:
    """Return whether a Job is due; `cron.active` are those that run. Only the latest missed time counts."""
    missed = _missed(cron, schedule, zone, now, within_deadline=True)
    if missed is None:
        return Decision(None, None, ((_WARNING, "InvalidSchedule", f"invalid schedule: {cron.schedule} : {_NEVER}"),))
    wake = next_look(cron, schedule, zone, now)
    due = missed.latest
    if due is None:
        return Decision(None, wake)
    events: tuple[tuple[str, str, str], ...] = ()
    if missed.about > MANY:
        events = ((_WARNING, "TooManyMissedTimes", _TOO_MANY),)
    if cron.deadline_seconds is not None and due + cron.deadline_seconds < now:
        when = datetime.fromtimestamp(due, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        return Decision(
            None, wake, (*events, (_WARNING, "MissSchedule", f"Missed scheduled time to start a job: {when}"))
        )
    if cron.last_scheduled == due or any(each.name == job_name(cron, due) for each in cron.active):
        return Decision(None, wake, events)
    if cron.policy == "Forbid" and cron.active:
        return Decision(None, wake, (*events, (_NORMAL, "JobAlreadyActive", _BUSY)))
    return Decision(due, wake, events)


def next_look(cron: CronJob, schedule: Schedule, zone: tzinfo | None, now: float) -> float | None:
    """Return the seconds until just after the next time; None when there is none."""
    missed = _missed(cron, schedule, zone, now, within_deadline=False)
    if missed is None or (missed.latest is None and missed.about):
        base = now
    else:
        base = _since(cron) if missed.latest is None else missed.latest
    following = schedule.next(base, zone)
    return None if following is None else following + AFTER_THE_TIME - now


@dataclass(frozen=True, slots=True)
class _Missed:
    """The latest scheduled time that is not after now, and about how many there were.

    The number is estimated by the distance of the first two. For a schedule of uneven distances the estimate may pass
    by every time there was: then there is no latest one.
    """

    latest: float | None
    about: int


def _since(cron: CronJob) -> float:
    return cron.created if cron.last_scheduled is None else cron.last_scheduled


def _missed(
    cron: CronJob, schedule: Schedule, zone: tzinfo | None, now: float, *, within_deadline: bool
) -> _Missed | None:
    """Return what there was to start since the last time; None for a schedule that never comes."""
    since = _since(cron)
    if within_deadline and cron.deadline_seconds is not None:
        since = max(since, now - cron.deadline_seconds)
    first = schedule.next(since, zone)
    if first is None:
        return None
    if first > now:
        return _Missed(None, 0)
    second = schedule.next(first, zone)
    if second is None:
        return None
    if second > now:
        return _Missed(first, 0)
    period = second - first
    about = int((now - first) // period) + 1
    latest, moment = None, schedule.next(first + (about - 2) * period, zone)
    while moment is not None and moment <= now:
        latest, moment = moment, schedule.next(moment, zone)
    return _Missed(latest, about)
