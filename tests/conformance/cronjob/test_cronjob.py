"""CronJob: tests named after upstream's."""

from typing import Any

from homeport.testing.behaviour import Ending
from tests.conformance.programs import IMAGE, RUN, container
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.steps import (
    Tree,
    condition,
    delete_collection,
    eventually,
    pass_time,
    reasons,
)
from tests.conformance.world import World

EVERY_MINUTE = "*/1 * * * ?"


def cron_job(policy: str = "Allow", **spec: Any) -> Tree:
    pod = {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 1, "containers": [container(RUN)]}
    job = {"spec": {"parallelism": 1, "completions": 1, "template": {"spec": pod}}}
    spec = {"schedule": EVERY_MINUTE, "concurrencyPolicy": policy, "jobTemplate": job, **spec}
    metadata = {"name": "c", "labels": {"special-label": "c"}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def jobs(world: World) -> list[str]:
    return [tree["metadata"]["name"] for tree in world.items("job") if "deletionTimestamp" not in tree["metadata"]]


def active(world: World) -> list[str]:
    status = world.get("cronjob/c").get("status") or {}
    return [reference["name"] for reference in status.get("active") or ()]


def test_should_schedule_multiple_jobs_concurrently(world: World) -> None:
    """CronJob should schedule multiple jobs concurrently"""
    world.create(cron_job())
    eventually(world, lambda: len(active(world)) == 2)
    assert active(world) == jobs(world)
    eventually(world, lambda: all(tree["status"].get("active") == 1 for tree in world.items("job")), 10)


def test_should_not_schedule_jobs_when_suspended(world: World) -> None:
    """CronJob should not schedule jobs when suspended"""
    world.create(cron_job(suspend=True))
    pass_time(world, 300)
    assert (active(world), jobs(world)) == ([], [])


def test_should_not_schedule_new_jobs_when_forbidconcurrent(world: World) -> None:
    """CronJob should not schedule new jobs when ForbidConcurrent"""
    world.create(cron_job("Forbid"))
    eventually(world, lambda: len(active(world)) == 1)
    (first,) = jobs(world)
    pass_time(world, 300)
    assert (active(world), jobs(world)) == ([first], [first])
    assert "JobAlreadyActive" in reasons(world, "cronjob/c")


def test_should_replace_jobs_when_replaceconcurrent(world: World) -> None:
    """CronJob should replace jobs when ReplaceConcurrent"""
    world.create(cron_job("Replace"))
    eventually(world, lambda: len(active(world)) == 1)
    (first,) = jobs(world)
    eventually(world, lambda: first not in jobs(world))
    eventually(world, lambda: len(active(world)) == 1, 10)
    assert active(world) == jobs(world) != [first]
    pass_time(world, 5)
    assert len(world.items("pod")) == 1  # the pod of the replaced Job went with it


def test_should_support_cronjob_api_operations(world: World) -> None:
    """CronJob should support CronJob API operations"""
    assert "batch" in {group["name"] for group in world.request("GET", "/apis")["groups"]}
    assert "v1" in {version["version"] for version in world.request("GET", "/apis/batch")["versions"]}
    served = {resource["name"] for resource in world.request("GET", "/apis/batch/v1")["resources"]}
    assert {"cronjobs", "cronjobs/status"} <= served
    created = world.create(cron_job(suspend=True))
    assert world.get("cronjob/c")["metadata"]["uid"] == created["metadata"]["uid"]
    for name in ("c2", "c3"):
        world.create({**cron_job(suspend=True), "metadata": {"name": name, "labels": {"special-label": "c"}}})
    assert len(world.items("cronjob", "special-label=c")) == 3
    assert len(world.items("cronjob", "special-label=c", everywhere=True)) == 3
    patched = world.patch("cronjob/c", {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"]["patched"] == "true"
    updated = world.change("cronjob/c", lambda tree: tree["metadata"]["annotations"].update(updated="true"))
    assert updated["metadata"]["annotations"]["updated"] == "true"
    now = "2026-01-01T00:00:00Z"
    status = world.patch(
        "cronjob/c",
        {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"lastScheduleTime": now}},
        subresource="status",
    )
    assert status["status"]["lastScheduleTime"] == now
    assert status["metadata"]["annotations"]["patchedstatus"] == "true"
    later = "2026-01-01T01:00:00Z"
    status = world.change("cronjob/c", lambda tree: tree["status"].update(lastScheduleTime=later), "status")
    assert status["status"]["lastScheduleTime"] == later
    assert world.get("cronjob/c", "status")["status"]["lastScheduleTime"] == later
    world.patch("cronjob/c", {"metadata": {"finalizers": ["example.com/hold"]}})
    world.delete("cronjob/c")
    assert "deletionTimestamp" in world.get("cronjob/c")["metadata"]
    world.patch("cronjob/c", {"metadata": {"finalizers": None}})
    assert world.find("cronjob/c") is None
    delete_collection(world, "cronjob", "special-label=c")
    assert world.items("cronjob", "special-label=c") == []


def test_should_be_able_to_schedule_after_more_than_100_missed_schedule(simulated: SimulatedWorld) -> None:
    """CronJob should be able to schedule after more than 100 missed schedule"""
    world = simulated
    simulated.cluster.cut_control()
    tree = world.create(cron_job(suspend=True))
    long_ago = {"lastScheduleTime": "2025-06-01T00:00:00Z"}
    world.change("cronjob/c", lambda tree: tree.update(status=long_ago), "status")
    world.patch("cronjob/c", {"spec": {"suspend": False}})
    simulated.cluster.heal()
    eventually(world, lambda: len(active(world)) == 1)
    assert "TooManyMissedTimes" in reasons(world, "cronjob/c")
    assert world.get("cronjob/c")["metadata"]["uid"] == tree["metadata"]["uid"]


def test_should_not_emit_unexpected_warnings(simulated: SimulatedWorld) -> None:
    """CronJob should not emit unexpected warnings"""
    world = simulated
    simulated.cluster.program(IMAGE, Ending(5))
    world.create(cron_job())
    eventually(world, lambda: len(jobs(world)) >= 2)
    pass_time(world, 10)
    assert {event["type"] for event in world.events("cronjob/c")} == {"Normal"}
    assert {"SuccessfulCreate", "SawCompletedJob"} <= reasons(world, "cronjob/c")


def test_should_remove_from_active_list_jobs_that_have_been_deleted(world: World) -> None:
    """CronJob should remove from active list jobs that have been deleted"""
    world.create(cron_job("Forbid"))
    eventually(world, lambda: len(active(world)) == 1)
    (first,) = active(world)
    world.delete(f"job/{first}", propagation="Background")
    eventually(world, lambda: first not in active(world))
    assert "MissingJob" in reasons(world, "cronjob/c")
    assert first not in jobs(world)


def test_should_delete_successful_finished_jobs_with_limit_of_one_successful_job(simulated: SimulatedWorld) -> None:
    """CronJob should delete successful finished jobs with limit of one successful job"""
    world = simulated
    simulated.cluster.program(IMAGE, Ending(5))
    world.create(cron_job(successfulJobsHistoryLimit=1, failedJobsHistoryLimit=1))
    kept_one(world, "Complete")
    assert world.get("cronjob/c")["status"]["lastSuccessfulTime"]


def test_should_delete_failed_finished_jobs_with_limit_of_one_job(simulated: SimulatedWorld) -> None:
    """CronJob should delete failed finished jobs with limit of one job"""
    world = simulated
    simulated.cluster.program(IMAGE, Ending(5, code=1))
    tree = cron_job(successfulJobsHistoryLimit=1, failedJobsHistoryLimit=1)
    tree["spec"]["jobTemplate"]["spec"].update(backoffLimit=0)
    world.create(tree)
    kept_one(world, "Failed")


def kept_one(world: World, kind: str) -> None:
    """See that of the Jobs that ended one is kept, the newest."""

    def ended() -> list[str]:
        trees = world.items("job")
        return [tree["metadata"]["name"] for tree in trees if condition(tree, kind).get("status") == "True"]

    eventually(world, ended)
    (first,) = ended()
    pass_time(world, 120)
    assert len(ended()) == 1
    assert ended() > [first]
    pass_time(world, 5)
    assert len(world.items("pod")) <= 2


def test_should_set_the_cronjob_scheduled_timestamp_annotation_on_a_job(world: World) -> None:
    """CronJob should set the cronjob-scheduled-timestamp annotation on a job"""
    world.create(cron_job(timeZone="Etc/UTC"))
    eventually(world, lambda: jobs(world))
    job = world.items("job")[0]
    scheduled = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert scheduled.endswith(":00Z")
    assert world.get("cronjob/c")["status"]["lastScheduleTime"] == scheduled
