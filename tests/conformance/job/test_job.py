"""Job: tests named after upstream's."""

from typing import Any

from tests.conformance.programs import (
    FAIL,
    FAIL_ODD,
    FAIL_ONCE,
    FAIL_ONCE_PER_INDEX,
    RUN,
    SLOW_TO_STOP,
    SUCCEED,
    container,
    play,
)
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.steps import (
    Tree,
    condition,
    delete_collection,
    eventually,
    evict,
    gone,
    pass_time,
    settle,
    wait,
)
from tests.conformance.world import World, also_on_real_pods

DATA = {"name": "data", "emptyDir": {}}
MOUNT = {"name": "data", "mountPath": "/data"}


def job(program: str, *, restart: str = "Never", parallelism: int = 2, completions: int = 4, **spec: Any) -> Tree:
    template = {
        "metadata": {"labels": {"job": "j"}},
        "spec": {"restartPolicy": restart, "volumes": [DATA], "containers": [container(program, volumeMounts=[MOUNT])]},
    }
    counts = {"parallelism": parallelism, "completions": completions}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {**counts, "template": template, **spec},
    }


def indexed(program: str, **spec: Any) -> Tree:
    return job(program, completionMode="Indexed", **spec)


def begin(world: World, tree: Tree) -> None:
    play(world)
    world.create(tree)


def until(world: World, kind: str, reason: str | None = None) -> Tree:
    """Wait for a condition of the Job and return it as it is then."""

    def holds(tree: Tree) -> bool:
        found = condition(tree, kind)
        return found.get("status") == "True" and reason in (None, found["reason"])

    return wait(world, "job/j", holds)


def completed(world: World, completions: int = 4, reason: str = "CompletionsReached") -> Tree:
    """Wait for the interim condition, then the last one, and see that nothing is left behind."""
    until(world, "SuccessCriteriaMet", reason)
    tree = until(world, "Complete", reason)
    status = tree["status"]
    assert status["succeeded"] == completions
    assert (status.get("active", 0), status["ready"], status["terminating"]) == (0, 0, 0)
    return tree


def failed(world: World, reason: str) -> Tree:
    until(world, "FailureTarget", reason)
    tree = until(world, "Failed", reason)
    status = tree["status"]
    assert (status.get("active", 0), status["ready"], status["terminating"]) == (0, 0, 0)
    return tree


def running(world: World, count: int = 2) -> list[Tree]:
    """Wait until so many of its pods run, and it says so."""

    def pods() -> list[Tree]:
        listed = world.items("pod", "job-name=j")
        return [pod for pod in listed if condition(pod, "Ready").get("status") == "True"]

    eventually(world, lambda: len(pods()) == count)
    wait(world, "job/j", lambda tree: (tree.get("status") or {}).get("ready") == count)
    return pods()


def phases(world: World) -> list[str]:
    return sorted(pod["status"]["phase"] for pod in world.items("pod", "job-name=j"))


@also_on_real_pods
def test_should_delete_a_job(world: World) -> None:
    """Job should delete a job"""
    begin(world, job(RUN))
    running(world)
    world.delete("job/j", propagation="Background")
    gone(world, "job/j")
    eventually(world, lambda: not world.items("pod"))


def test_should_manage_the_lifecycle_of_a_job(world: World) -> None:
    """Job should manage the lifecycle of a job"""
    play(world)
    made = job(SUCCEED, suspend=True)
    made["metadata"]["labels"] = {"e2e-job-label": "j"}
    created = world.create(made)
    patched = world.patch("job/j", {"metadata": {"labels": {"j": "patched"}}})
    assert int(patched["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    assert patched["metadata"]["labels"] == {"e2e-job-label": "j", "j": "patched"}

    def resume(tree: Tree) -> None:
        tree["spec"]["suspend"] = False
        tree["metadata"]["annotations"] = {**tree["metadata"].get("annotations", {}), "updated": "true"}

    assert world.change("job/j", resume)["metadata"]["annotations"]["updated"] == "true"
    assert [one["metadata"]["name"] for one in world.items("job", "e2e-job-label=j", everywhere=True)] == ["j"]
    completed(world)
    delete_collection(world, "job", "e2e-job-label=j", propagation="Background")
    gone(world, "job/j")
    assert world.items("job", "e2e-job-label=j", everywhere=True) == []


def test_should_apply_changes_to_a_job_status(world: World) -> None:
    """Job should apply changes to a job status"""
    begin(world, job(RUN))
    running(world)
    custom = {"type": "CustomConditionType", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    change = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"conditions": [custom]}}
    patched = world.patch("job/j", change, subresource="status")
    assert condition(patched, "CustomConditionType")["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert patched["metadata"]["annotations"]["patchedstatus"] == "true"

    def later(tree: Tree) -> None:
        condition(tree, "CustomConditionType")["lastTransitionTime"] = "2026-01-01T00:01:00Z"

    updated = world.change("job/j", later, "status")
    assert condition(updated, "CustomConditionType")["lastTransitionTime"] == "2026-01-01T00:01:00Z"
    assert world.get("job/j", "status")["metadata"]["uid"] == patched["metadata"]["uid"]
    settle(world)
    assert condition(world.get("job/j"), "CustomConditionType")["status"] == "True"


def test_should_run_a_job_to_completion_when_tasks_succeed(world: World) -> None:
    """Job should run a job to completion when tasks succeed"""
    begin(world, job(SUCCEED))
    completed(world)
    assert phases(world) == ["Succeeded"] * 4


@also_on_real_pods
def test_should_run_a_job_to_completion_when_tasks_sometimes_fail_and_are_locally_restarted(
    world: World,
) -> None:
    """Job should run a job to completion when tasks sometimes fail and are locally restarted"""
    begin(world, job(FAIL_ONCE, restart="OnFailure"))
    completed(world)
    pods = world.items("pod", "job-name=j")
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods] == [1] * 4


def test_should_run_a_job_to_completion_when_tasks_sometimes_fail_and_are_not_locally_restarted(
    world: World,
) -> None:
    """Job should run a job to completion when tasks sometimes fail and are not locally restarted"""
    begin(world, indexed(FAIL_ONCE_PER_INDEX))
    completed(world)
    assert phases(world) == ["Failed"] * 4 + ["Succeeded"] * 4


@also_on_real_pods
def test_should_adopt_matching_orphans_and_release_non_matching_pods(world: World) -> None:
    """Job should adopt matching orphans and release non-matching pods"""
    begin(world, job(RUN))
    name = running(world)[0]["metadata"]["name"]
    uid = world.get("job/j")["metadata"]["uid"]
    world.patch(f"pod/{name}", {"metadata": {"ownerReferences": None}})
    adopted = wait(world, f"pod/{name}", lambda pod: "ownerReferences" in pod["metadata"])
    (reference,) = adopted["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["name"], reference["uid"]) == ("Job", "j", uid)
    world.patch(f"pod/{name}", {"metadata": {"labels": None}})
    wait(world, f"pod/{name}", lambda pod: not pod["metadata"].get("ownerReferences"))
    running(world)
    settle(world)
    assert not world.get(f"pod/{name}")["metadata"].get("finalizers")


@also_on_real_pods
def test_should_create_pods_for_an_indexed_job_with_completion_indexes_and_specified_hostname(
    world: World,
) -> None:
    """Job should create pods for an Indexed job with completion indexes and specified hostname"""
    begin(world, indexed(SUCCEED))
    assert completed(world)["status"]["completedIndexes"] == "0-3"
    found = set()
    for pod in world.items("pod", "job-name=j"):
        index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        assert pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == index
        assert pod["spec"]["hostname"] == f"j-{index}"
        assert pod["metadata"]["name"].startswith(f"j-{index}-")
        found.add(int(index))
    assert found == set(range(4))


@also_on_real_pods
def test_should_allow_to_use_the_pod_failure_policy_on_exit_code_to_fail_the_job_early(
    world: World,
) -> None:
    """Job should allow to use the pod failure policy on exit code to fail the job early"""
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    begin(world, job(FAIL_ONCE, podFailurePolicy={"rules": [rule]}))
    tree = failed(world, "PodFailurePolicy")
    assert "failed with exit code 1 matching FailJob rule at index 0" in condition(tree, "Failed")["message"]


def test_should_allow_to_use_a_pod_failure_policy_to_ignore_failure_matching_on_exit_code(
    world: World,
) -> None:
    """Job should allow to use a pod failure policy to ignore failure matching on exit code"""
    rule = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}}
    policy = {"rules": [rule]}
    begin(world, indexed(FAIL_ONCE_PER_INDEX, parallelism=3, completions=3, backoffLimit=0, podFailurePolicy=policy))
    assert completed(world, 3)["status"].get("failed", 0) == 0


def test_should_allow_to_use_a_pod_failure_policy_to_ignore_failure_matching_on_disruptiontarget_condition(
    simulated: SimulatedWorld,
) -> None:
    """Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition"""
    world = simulated
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    policy = {"rules": [rule]}
    begin(world, indexed(RUN, parallelism=3, completions=3, backoffLimit=0, podFailurePolicy=policy))
    pods = running(world, 3)
    for pod in pods:
        assert evict(world, pod["metadata"]["name"]) is None
    for pod in pods:
        gone(world, f"pod/{pod['metadata']['name']}")
    for pod in running(world, 3):
        simulated.cluster.pods[f"{world.namespace}/{pod['metadata']['name']}"].crash(code=0)
    completed(world, 3)


@also_on_real_pods
def test_with_successpolicy_should_succeeded_when_all_indexes_succeeded(world: World) -> None:
    """Job with successPolicy should succeeded when all indexes succeeded"""
    policy = {"rules": [{"succeededCount": 2}]}
    begin(world, indexed(SUCCEED, completions=2, successPolicy=policy))
    assert completed(world, 2, "SuccessPolicy")["status"].get("failed", 0) == 0


@also_on_real_pods
def test_with_successpolicy_succeededindexes_rule_should_succeeded_even_when_some_indexes_remain_pending(
    world: World,
) -> None:
    """Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending"""
    policy = {"rules": [{"succeededIndexes": "0"}]}
    begin(world, indexed(FAIL_ODD, completions=5, successPolicy=policy))
    assert completed(world, 1, "SuccessPolicy")["status"]["completedIndexes"] == "0"


def test_with_successpolicy_succeededcount_rule_should_succeeded_even_when_some_indexes_remain_pending(
    world: World,
) -> None:
    """Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending"""
    policy = {"rules": [{"succeededCount": 1}]}
    begin(world, indexed(FAIL_ODD, completions=5, backoffLimit=2147483647, successPolicy=policy))
    assert completed(world, 1, "SuccessPolicy")["status"]["completedIndexes"] == "0"


def test_should_execute_all_indexes_despite_some_failing_when_using_backofflimitperindex(
    world: World,
) -> None:
    """Job should execute all indexes despite some failing when using backoffLimitPerIndex"""
    begin(world, indexed(FAIL_ODD, backoffLimitPerIndex=1))
    status = failed(world, "FailedIndexes")["status"]
    assert (status["failedIndexes"], status["completedIndexes"]) == ("1,3", "0,2")
    assert (status["failed"], status["succeeded"]) == (4, 2)


@also_on_real_pods
def test_should_terminate_job_execution_when_the_number_of_failed_indexes_exceeds_maxfailedindexes(
    world: World,
) -> None:
    """Job should terminate job execution when the number of failed indexes exceeds maxFailedIndexes"""
    begin(world, indexed(FAIL, parallelism=1, backoffLimitPerIndex=0, maxFailedIndexes=0))
    status = failed(world, "MaxFailedIndexesExceeded")["status"]
    assert (status["failedIndexes"], status["failed"]) == ("0", 1)


def test_should_record_the_failure_count_in_the_pod_annotation_when_using_backofflimitperindex(
    world: World,
) -> None:
    """Job should record the failure-count in the Pod annotation when using backoffLimitPerIndex"""
    begin(world, indexed(FAIL, completions=2, backoffLimitPerIndex=1))
    status = failed(world, "FailedIndexes")["status"]
    assert (status["failedIndexes"], status.get("completedIndexes", "")) == ("0,1", "")
    assert (status["failed"], status.get("succeeded", 0)) == (4, 0)
    counts = sorted(
        (
            annotations["batch.kubernetes.io/job-completion-index"],
            annotations["batch.kubernetes.io/job-index-failure-count"],
        )
        for annotations in (pod["metadata"]["annotations"] for pod in world.items("pod"))
    )
    assert counts == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]


@also_on_real_pods
def test_should_mark_indexes_as_failed_when_the_failindex_action_is_matched_in_podfailurepolicy(
    world: World,
) -> None:
    """Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy"""
    rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}
    begin(world, indexed(FAIL_ODD, completions=2, backoffLimitPerIndex=1, podFailurePolicy={"rules": [rule]}))
    status = failed(world, "FailedIndexes")["status"]
    assert (status["failedIndexes"], status["completedIndexes"]) == ("1", "0")
    assert (status["failed"], status["succeeded"]) == (1, 1)


def test_should_not_create_pods_when_created_in_suspend_state(world: World) -> None:
    """Job should not create pods when created in suspend state"""
    begin(world, job(SUCCEED, suspend=True))
    until(world, "Suspended", "JobSuspended")
    pass_time(world, 300)
    assert not world.items("pod")
    world.patch("job/j", {"spec": {"suspend": False}})
    tree = completed(world)
    assert condition(tree, "Suspended")["reason"] == "JobResumed"


def test_should_delete_pods_when_suspended(world: World) -> None:
    """Job should delete pods when suspended"""
    begin(world, job(RUN))
    running(world)
    world.patch("job/j", {"spec": {"suspend": True}})
    settle(world)
    assert not world.items("pod")
    assert condition(world.get("job/j"), "Suspended")["status"] == "True"


def test_should_recreate_pods_only_after_they_have_failed_if_pod_replacement_policy_is_set_to_failed(
    world: World,
) -> None:
    """Job should recreate pods only after they have failed if pod replacement policy is set to Failed"""
    begin(world, job(SLOW_TO_STOP, parallelism=1, completions=1, backoffLimit=1, podReplacementPolicy="Failed"))
    name = running(world, 1)[0]["metadata"]["name"]
    world.delete(f"pod/{name}", grace=30)

    def counts(active: int, lost: int, terminating: int) -> Any:
        def hold(tree: Tree) -> bool:
            status = tree["status"]
            return (status.get("active", 0), status.get("failed", 0), status["terminating"]) == (
                active,
                lost,
                terminating,
            )

        return hold

    wait(world, "job/j", counts(0, 0, 1))
    assert len(world.items("pod")) == 1
    wait(world, "job/j", counts(1, 1, 0))


def test_should_remove_pods_when_job_is_deleted(world: World) -> None:
    """Job should remove pods when job is deleted"""
    begin(world, job(RUN))
    running(world)
    world.delete("job/j", propagation="Background")
    settle(world)
    assert not world.items("pod")


def test_should_update_the_status_ready_field(world: World) -> None:
    """Job should update the status ready field"""
    begin(world, job(RUN, suspend=True))
    running(world, 0)
    world.patch("job/j", {"spec": {"suspend": False}})
    running(world, 2)
    world.patch("job/j", {"spec": {"suspend": True}})
    running(world, 0)


def test_should_fail_when_exceeds_active_deadline(world: World) -> None:
    """Job should fail when exceeds active deadline"""
    begin(world, job(RUN, activeDeadlineSeconds=1))
    tree = failed(world, "DeadlineExceeded")
    assert condition(tree, "Failed")["message"] == "Job was active longer than specified deadline"


def test_should_fail_to_exceed_backofflimit(world: World) -> None:
    """Job should fail to exceed backoffLimit"""
    begin(world, job(FAIL, parallelism=1, completions=1, backoffLimit=1))
    tree = failed(world, "BackoffLimitExceeded")
    assert condition(tree, "Failed")["message"] == "Job has reached the specified backoff limit"
    assert phases(world) == ["Failed"] * 2


def test_should_allow_to_delegate_reconciliation_to_external_controller(world: World) -> None:
    """Job should allow to delegate reconciliation to external controller"""
    begin(world, job(SUCCEED, managedBy="example.com/custom-job-controller"))
    pass_time(world, 300)
    assert world.get("job/j").get("status", {}) == {}
    assert not world.items("pod")


def test_job_should_be_deleted_once_it_finishes_after_ttl_seconds(world: World) -> None:
    """TTLAfterFinished job should be deleted once it finishes after TTL seconds"""
    begin(world, job(SUCCEED, ttlSecondsAfterFinished=5))
    world.patch("job/j", {"metadata": {"finalizers": ["example.com/hold"]}})
    until(world, "Complete")
    pass_time(world, 4)
    assert "deletionTimestamp" not in world.get("job/j")["metadata"]
    pass_time(world, 2)
    tree = world.get("job/j")
    assert "deletionTimestamp" in tree["metadata"]
    settle(world)
    assert not world.items("pod")  # in the foreground: its pods go before it
    world.change("job/j", lambda held: held["metadata"].update(finalizers=[]))
    gone(world, "job/j")
