"""kubectl, new and old, with autoscalers, usage, quotas and limits of a simulated cluster."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.controllers.horizontalpodautoscaler.test_histories import everyone_uses, workload
from tests.controllers.test_kubectl import BINARIES

Kubectl = Callable[..., str]


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    made = SimulatedCluster(seed=2, nodes=1)
    yield made
    made.close()


@pytest.fixture(params=sorted(BINARIES))
def kubectl(request: pytest.FixtureRequest, cluster: SimulatedCluster, tmp_path: Path) -> Kubectl:
    binary = BINARIES[request.param]
    if not Path(binary).exists():
        pytest.skip(f"{binary} is not installed")
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path)}

    def run(*arguments: str) -> str:
        done = subprocess.run([binary, *arguments], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_autoscale_get_describe_and_top(cluster: SimulatedCluster, kubectl: Kubectl) -> None:
    cluster.apply(workload())
    cluster.wait("deployment/web")
    told = kubectl("autoscale", "deployment", "web", "--min=1", "--max=4", "--cpu-percent=50")
    assert "horizontalpodautoscaler.autoscaling/web autoscaled" in told
    everyone_uses(cluster, "100m", 60)
    (pod, *_) = cluster.pods
    row = kubectl("get", "hpa", "web", "--no-headers").split()
    assert row[:2] == ["web", "Deployment/web"]
    assert "100%/50%" in row
    described = kubectl("describe", "hpa", "web")
    assert re.search(
        r"resource cpu on pods\s+\(as a percentage of request\):\s+100% \(100m\) / 50%", described
    ) or re.search(
        r"Target CPU utilization:\s+50%\nCurrent CPU utilization:\s+100%", described
    )  # the old one knows v1 alone
    assert "SuccessfulRescale" in described
    pods = kubectl("top", "pods", "--no-headers").splitlines()
    assert [pod.name, "100m", "64Mi"] in [line.split() for line in pods]
    assert kubectl("top", "nodes", "--no-headers").split()[0] == "node-1"
    assert (
        kubectl(
            "get",
            "horizontalpodautoscalers.v1.autoscaling",
            "web",
            "-o",
            "jsonpath={.spec.targetCPUUtilizationPercentage}",
        )
        == "50"
    )


def test_quotas_and_limits(cluster: SimulatedCluster, kubectl: Kubectl) -> None:
    kubectl("create", "quota", "room", "--hard=pods=1,requests.cpu=1")
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "usual"},
            "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "100m"}, "default": {"cpu": "1"}}]},
        }
    )
    cluster.advance(seconds=5)
    cluster.apply(workload(replicas=2, requests={}))
    cluster.advance(seconds=10)
    assert re.search(r"requests\.cpu\s+100m\s+1\n", kubectl("describe", "quota", "room"))
    assert re.search(r"Container\s+cpu\s+-\s+-\s+100m\s+1\s+-", kubectl("describe", "limits", "usual"))
    assert "pods: 1/1" in kubectl("get", "quota", "room")
    assert "FailedCreate" in kubectl("describe", "deployment", "web")
