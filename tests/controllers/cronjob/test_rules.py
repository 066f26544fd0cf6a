"""CronJobs as the API takes them and as time goes by. Source: workloads 12."""

from typing import Any

import pytest

from homeport.testing.behaviour import Ending
from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import create, reference


def cron(homeport: SimulatedCluster, name: str = "c", **spec: Any) -> tuple[int, dict[str, Any]]:
    containers = [{"name": "c", "image": "task:1"}]
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": containers}
    body = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}, **spec}
    return create(homeport, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": body})


def reasons(homeport: SimulatedCluster) -> list[str]:
    return [event.reason for event in homeport.events("cronjob/c")]


def test_defaults(homeport: SimulatedCluster) -> None:
    _, made = cron(homeport)
    names = ("concurrencyPolicy", "suspend", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    assert [made["spec"][name] for name in names] == ["Allow", False, 3, 1]


@pytest.mark.parametrize(
    ("name", "spec", "code"),
    [
        ("n" * 52, {}, 201),
        ("n" * 53, {}, 422),
        ("c", {"schedule": "TZ=UTC * * * * *"}, 422),
        ("c", {"schedule": "CRON_TZ=UTC * * * * *"}, 422),
        ("c", {"schedule": "sometimes"}, 422),
        ("c", {"timeZone": "Etc/UTC"}, 201),
        ("c", {"timeZone": "Nowhere/Here"}, 422),
        ("c", {"concurrencyPolicy": "Perhaps"}, 422),
    ],
)
def test_what_is_taken(homeport: SimulatedCluster, name: str, spec: dict[str, Any], code: int) -> None:
    assert cron(homeport, name, **spec)[0] == code


def test_a_job_is_named_and_stamped_by_its_time_and_belongs_to_its_maker(homeport: SimulatedCluster) -> None:
    _, made = cron(homeport, timeZone="Etc/UTC")
    homeport.advance(seconds=90)
    (job,) = homeport.list("job")
    stamp = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert stamp == homeport.get("cronjob/c")["status"]["lastScheduleTime"]
    assert job["metadata"]["ownerReferences"] == [reference(made, controller=True)]
    (active,) = homeport.get("cronjob/c")["status"]["active"]
    assert (active["kind"], active["name"], active["uid"]) == ("Job", job["metadata"]["name"], job["metadata"]["uid"])


def test_only_the_latest_of_missed_times_is_made_up_for(homeport: SimulatedCluster) -> None:
    cron(homeport)
    homeport.cut_control()
    homeport.advance(minutes=10)
    homeport.heal()
    homeport.restart_controllers()  # who tried in vain for so long would wait for some minutes more
    homeport.advance(seconds=5)
    assert len(homeport.list("job")) == 1


def test_a_time_missed_for_longer_than_its_deadline_is_not_made_up_for(homeport: SimulatedCluster) -> None:
    cron(homeport, schedule="0 * * * *", startingDeadlineSeconds=120)
    homeport.cut_control()
    homeport.advance(minutes=70)
    homeport.heal()
    homeport.advance(minutes=5)
    assert homeport.list("job") == []


def test_history_is_kept_as_long_as_asked_and_the_list_is_tidied(homeport: SimulatedCluster) -> None:
    homeport.program("task:1", Ending(5))
    cron(homeport, successfulJobsHistoryLimit=2)
    homeport.advance(minutes=6, seconds=30)
    assert len(homeport.list("job")) == 2
    status = homeport.get("cronjob/c")["status"]
    assert (status.get("active"), "lastSuccessfulTime" in status) == (None, True)
    assert reasons(homeport).count("SawCompletedJob") >= 1


def test_a_job_of_its_own_that_it_did_not_start_is_told(homeport: SimulatedCluster) -> None:
    _, made = cron(homeport, suspend=True)
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "task:1"}]}
    metadata = {"name": "foreign", "ownerReferences": [reference(made, controller=True)]}
    spec = {"template": {"spec": pod}}
    create(homeport, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    homeport.settle()
    assert "UnexpectedJob" in reasons(homeport)


def test_a_slot_that_is_forbidden_is_made_up_for_within_its_deadline(homeport: SimulatedCluster) -> None:
    homeport.program("task:1", Ending(90))
    cron(homeport, schedule="*/2 * * * *", concurrencyPolicy="Forbid", startingDeadlineSeconds=100)
    homeport.advance(minutes=7)
    starts = [event for event in homeport.events("cronjob/c") if event.reason == "SuccessfulCreate"]
    assert len(starts) >= 3


def test_another_schedule_counts_from_its_next_time_on(homeport: SimulatedCluster) -> None:
    cron(homeport, schedule="0 0 1 1 *")
    homeport.advance(minutes=150)
    homeport.patch("cronjob/c", {"spec": {"schedule": "0 * * * *"}})
    homeport.advance(seconds=30)
    assert homeport.list("job") == []
    homeport.advance(minutes=60)
    assert len(homeport.list("job")) == 1


def test_what_is_told_of_a_job_started_and_ended(homeport: SimulatedCluster) -> None:
    homeport.program("task:1", Ending(5))
    cron(homeport)
    homeport.advance(seconds=90)
    (job,) = homeport.list("job")
    name = job["metadata"]["name"]
    assert [(each.reason, each.message) for each in homeport.events("cronjob/c")][:2] == [
        ("SuccessfulCreate", f"Created job {name}"),
        ("SawCompletedJob", f"Saw completed job: {name}, condition: Complete"),
    ]
