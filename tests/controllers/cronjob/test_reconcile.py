"""When a CronJob starts a Job, and what it makes of the others."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from homeport.api.cron import parse_schedule
from homeport.controllers.cronjob.model import Child, CronJob, Decision, Reference
from homeport.controllers.cronjob.reconcile import decide, job_name, outdated, review

MINUTE = parse_schedule("* * * * *")


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-01-01T{text}").replace(tzinfo=UTC).timestamp()


def cron(**changes: object) -> CronJob:
    return replace(CronJob("default", "c", "uid", "* * * * *", created=at("00:00:30")), **changes)


@pytest.mark.parametrize(
    ("changes", "now", "start", "wake", "reasons"),
    [
        ({}, "00:00:40", None, 20.1, []),
        ({}, "00:01:00", "00:01:00", 60.1, []),
        ({}, "00:05:10", "00:05:00", 50.1, []),
        ({"last_scheduled": at("00:01:00")}, "00:01:30", None, 30.1, []),
        ({}, "02:00:00", "02:00:00", 60.1, ["TooManyMissedTimes"]),
        ({"deadline_seconds": 20}, "00:01:30", None, 30.1, []),
        ({"deadline_seconds": 40}, "00:01:30", "00:01:00", 30.1, []),
        ({"policy": "Forbid", "active": (Reference("x", "x"),)}, "00:01:00", None, 60.1, ["JobAlreadyActive"]),
        ({"policy": "Replace", "active": (Reference("x", "x"),)}, "00:01:00", "00:01:00", 60.1, []),
        ({"active": (Reference(f"c-{int(at('00:01:00')) // 60}", "x"),)}, "00:01:00", None, 60.1, []),
    ],
)
def test_the_latest_missed_time_is_due(changes, now, start, wake, reasons):
    decision = decide(cron(**changes), MINUTE, UTC, at(now))
    assert decision.start == (at(start) if start else None)
    assert decision.wake_after == pytest.approx(wake)
    assert [reason for _, reason, _ in decision.events] == reasons


@pytest.mark.parametrize(
    ("schedule", "created", "now", "start", "wake"),
    [
        # distances are uneven: the estimate by the first of them passes by all there was, and none is made up for
        ("30 6-16/4 * * 1-5", "2026-01-05T06:00", "2026-01-10T12:00", None, "2026-01-12T06:30"),
        ("30 6-16/4 * * 1-5", "2026-01-05T06:00", "2026-01-06T12:00", "2026-01-06T10:30", "2026-01-06T14:30"),
        ("0 0 1 * *", "2026-01-31T12:00", "2026-06-15T00:00", "2026-06-01T00:00", "2026-07-01T00:00"),
        ("@every 90s", "2026-01-01T00:00", "2026-01-01T00:10", "2026-01-01T00:09", "2026-01-01T00:10:30"),
    ],
)
def test_the_latest_time_is_found_by_an_estimate(schedule, created, now, start, wake):
    def moment(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    decision = decide(cron(schedule=schedule, created=moment(created)), parse_schedule(schedule), UTC, moment(now))
    assert decision.start == (moment(start) if start else None)
    assert decision.wake_after == pytest.approx(moment(wake) - moment(now) + 0.1)


def test_a_schedule_that_never_comes_is_told():
    decision = decide(cron(schedule="59 23 31 2 *"), parse_schedule("59 23 31 2 *"), UTC, at("00:01:00"))
    text = "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second"
    assert decision == Decision(None, None, (("Warning", "InvalidSchedule", text),))


def test_a_job_is_named_after_its_minute():
    assert job_name(cron(), at("00:01:00")) == f"c-{int(at('00:01:00')) // 60}"


def test_finished_jobs_leave_the_list_and_strange_ones_are_told():
    done, ended = Child("done", "1", "Complete", "t0", "t5"), Child("ended", "2", "Failed", "t1")
    strange, running = Child("strange", "3"), Child("running", "4")
    active = tuple(Reference(name, uid) for name, uid in (("done", "1"), ("running", "4"), ("lost", "9")))
    seen = review(cron(active=active, last_success="t3"), [done, ended, strange, running])
    assert [each.name for each in seen.active] == ["running", "lost"]
    assert [each.name for each in seen.missing] == ["lost"]
    assert seen.last_success == "t5"
    assert [(kind, reason) for kind, reason, _ in seen.events] == [
        ("Normal", "SawCompletedJob"),
        ("Warning", "UnexpectedJob"),
    ]


def test_the_oldest_go_first_beyond_the_limits():
    good = [Child(f"g{n}", f"g{n}", "Complete", f"t{n}") for n in (3, 1, 2)]
    bad = [Child(f"b{n}", f"b{n}", "Failed", f"t{n}") for n in (2, 1)]
    kept = cron(keep_successful=2, keep_failed=0)
    assert [job.name for job in outdated(kept, [*good, *bad, Child("r", "r")])] == ["g1", "b1", "b2"]
    assert outdated(cron(keep_successful=None, keep_failed=None), [*good, *bad]) == []
