"""Work that ends, work on every node, and work that may not be disturbed: as real processes, through kubectl."""

import json

import pytest

from tests.e2e.cluster import Cluster, Make
from tests.e2e.conftest import needs
from tests.e2e.observe import until

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: sums}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: c
        image: homeport.local/host
        command: [sh, -c, "echo index $JOB_COMPLETION_INDEX on $(hostname)"]
---
apiVersion: batch/v1
kind: Job
metadata: {name: fails}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: c, image: homeport.local/host, command: [sh, -c, "exit 3"]}
"""

CRON = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: often}
spec:
  schedule: "@every 2s"
  successfulJobsHistoryLimit: 1
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: c, image: homeport.local/host, command: [date]}
"""

DAEMONS = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: homeport.local/host, command: [sleep, infinity]}
"""

GUARDED = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: homeport.local/host, command: [sleep, infinity]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: db}
spec:
  minAvailable: 2
  selector: {matchLabels: {app: db}}
"""


@pytest.fixture(scope="module")
def cluster(make_cluster: Make) -> Cluster:
    needs("nft", "kubectl")
    cluster = make_cluster("batch")
    cluster.homeport("up")
    return cluster


def test_a_job_runs_to_its_end_or_says_why_not(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=JOB)
    cluster.wait("job/sums", "--for=condition=Complete")
    cluster.wait("job/fails", "--for=condition=Failed")
    status = cluster.objects("job/sums")[0]["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    logs = cluster.kubectl("logs", "-l", "job-name=sums", "--tail=-1").splitlines()
    assert sorted(logs) == [f"index {index} on sums-{index}" for index in range(3)]
    failed = next(each for each in cluster.objects("job/fails")[0]["status"]["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "BackoffLimitExceeded"
    assert "3/3" in cluster.kubectl("get", "job", "sums")
    cluster.kubectl("delete", "job", "sums", "fails")
    until(lambda: not cluster.objects("pods"), "the pods of deleted Jobs to go")


def test_a_pod_deleted_by_hand_is_replaced_when_it_has_ended(cluster: Cluster) -> None:
    sleeper = {"name": "c", "image": "homeport.local/host", "command": ["sleep", "infinity"]}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [sleeper]}
    spec = {"podReplacementPolicy": "Failed", "template": {"spec": pod}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "waits"}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    cluster.wait("job/waits", "--for=jsonpath={.status.ready}=1")
    cluster.kubectl("delete", "pod", "-l", "job-name=waits", "--wait=false")
    cluster.wait("job/waits", "--for=jsonpath={.status.failed}=1")
    cluster.kubectl("patch", "job", "waits", "-p", '{"spec":{"suspend":true}}')
    cluster.wait("job/waits", "--for=condition=Suspended")
    cluster.kubectl("delete", "job", "waits")
    until(lambda: not cluster.objects("pods"), "the pods of a suspended Job to go")


def test_a_cron_job_starts_jobs_and_tidies_up(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=CRON)

    def succeeded() -> bool:
        return "lastSuccessfulTime" in cluster.objects("cronjob/often")[0].get("status", {})

    until(succeeded, "a Job of the schedule to succeed", 60)
    cluster.kubectl("patch", "cronjob", "often", "-p", '{"spec":{"suspend":true}}')
    until(lambda: len(cluster.objects("jobs")) <= 1, "old Jobs to go", 60)
    cluster.kubectl("delete", "cronjob", "often")
    until(lambda: not cluster.objects("jobs"), "the Jobs to go with their owner")


def test_a_daemon_set_runs_on_the_one_node(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=DAEMONS)
    cluster.kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    pods = cluster.objects("pods", "-l", "app=agent")
    assert [pod["status"]["phase"] for pod in pods] == ["Running"]
    cluster.kubectl("delete", "daemonset", "agent")
    until(lambda: not cluster.objects("pods", "-l", "app=agent"), "the daemon to go")


def test_a_budget_holds_an_eviction_up_until_it_allows_it(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=GUARDED)
    cluster.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    cluster.wait("pdb/db", "--for=jsonpath={.status.currentHealthy}=2")
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "db-0"}})
    path = "/api/v1/namespaces/default/pods/db-0/eviction"
    refused = cluster.run(
        ["kubectl", f"--kubeconfig={cluster.data / 'kubeconfig'}", "create", "--raw", path, "-f", "-"],
        stdin=eviction,
        code=1,
    )
    assert "violate the pod's disruption budget" in refused.stderr
    before = cluster.pod("db-0")["metadata"]["uid"]
    cluster.kubectl("patch", "pdb", "db", "--type=merge", "-p", '{"spec":{"minAvailable":1}}')
    cluster.wait("pdb/db", "--for=jsonpath={.status.disruptionsAllowed}=1")
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=eviction)
    until(
        lambda: [pod["metadata"]["uid"] for pod in cluster.objects("pods", "-l", "app=db")][:1] != [before],
        "another pod in the place of the evicted one",
    )
