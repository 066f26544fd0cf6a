"""Table 13.2 of the workload rules: what an eviction is answered, row by row, with no controller to help."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from homeport.api.exchange import Request
from homeport.api.resources import find
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.errors import NotFound
from homeport.server.app import Server
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock, run_virtual
from homeport.testing.world import ADMIN

BUDGETS, PODS = find("PodDisruptionBudget", "policy"), find("Pod")
LABELS = {"app": "web"}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
UNREADY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
SPENT = {"disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 3}
SHORT = {**SPENT, "currentHealthy": 1}
OPEN = {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3}
NOTHING_LEFT = "Cannot evict pod as it would violate the pod's disruption budget."


@dataclass(frozen=True)
class Row:
    """A situation and its answer.

    pod       status of the pod; None: there is no pod
    budgets   status of each budget that selects it
    spec      what the budgets say besides
    code, message, cause  of the answer; empty texts are not looked at
    evicted   whether the pod goes
    consumed  whether the budget pays for it
    """

    pod: Any = field(default_factory=lambda: READY)
    budgets: tuple[Any, ...] = ()
    spec: Any = field(default_factory=dict)
    terminating: bool = False
    stale: bool = False
    named: str = "p"
    dry_run: bool = False
    code: int = 201
    message: str = ""
    cause: str = ""
    evicted: bool = True
    consumed: bool = False


ROWS = {
    "allowed": Row(budgets=(OPEN,), consumed=True),
    "no pod": Row(pod=None, code=404, evicted=False),
    "another name in the body": Row(
        named="q", code=400, message="name in URL does not match name in Eviction object", evicted=False
    ),
    "pending": Row(pod={"phase": "Pending"}, budgets=(SHORT,)),
    "succeeded": Row(pod={"phase": "Succeeded"}, budgets=(SHORT,)),
    "failed": Row(pod={"phase": "Failed"}, budgets=(SHORT,)),
    "terminating": Row(terminating=True, budgets=(SHORT,)),
    "no budget": Row(),
    "two budgets": Row(
        budgets=(OPEN, OPEN), code=500, evicted=False,
        message="This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    ),
    "not ready, always allowed": Row(
        pod=UNREADY, budgets=(SHORT,), spec={"unhealthyPodEvictionPolicy": "AlwaysAllow"}
    ),
    "not ready, enough others healthy": Row(pod=UNREADY, budgets=(SPENT,)),
    "not ready, too few others healthy": Row(
        pod=UNREADY, budgets=(SHORT,), code=429, evicted=False, message=NOTHING_LEFT,
        cause="The disruption budget b-0 needs 2 healthy pods and has 1 currently",
    ),
    "a budget not looked at yet": Row(
        budgets=(OPEN,), stale=True, code=429, evicted=False,
        cause="The disruption budget b-0 is still being processed by the server.",
    ),
    "nothing left": Row(
        budgets=(SPENT,), code=429, evicted=False, message=NOTHING_LEFT,
        cause="The disruption budget b-0 needs 2 healthy pods and has 2 currently",
    ),
    "dry run": Row(budgets=(OPEN,), dry_run=True, evicted=False),
    "dry run, nothing left": Row(budgets=(SPENT,), dry_run=True, code=429, evicted=False),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_table_13_2_an_eviction(row: Row) -> None:
    async def scenario() -> None:
        async with Server(MemoryStore(), VirtualClock(), random.Random(3)) as server:
            await _play(InProcessTransport(server.handle, ADMIN), row)

    run_virtual(scenario)


async def _play(transport: InProcessTransport, row: Row) -> None:
    client = RestClient(transport, "test")
    await client.create(find("Namespace"), {"metadata": {"name": "apart"}})
    await client.create(find("ServiceAccount"), {"metadata": {"name": "default"}}, "apart")
    if row.pod is not None:
        spec = {"nodeName": "elsewhere", "containers": [{"name": "c", "image": "a"}]}
        pod = await client.create(PODS, {"metadata": {"name": "p", "labels": LABELS}, "spec": spec}, "apart")
        await client.update(PODS, {**pod, "status": row.pod}, subresource="status")
    if row.terminating:
        await client.delete(PODS, "apart", "p")
    for number, status in enumerate(row.budgets):
        body = {"metadata": {"name": f"b-{number}"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": LABELS}}}
        body["spec"] |= row.spec
        budget = await client.create(BUDGETS, body, "apart")
        observed = budget["metadata"]["generation"] - row.stale
        await client.update(
            BUDGETS, {**budget, "status": {**status, "observedGeneration": observed}}, subresource="status"
        )

    code, answer, headers = await _evict(transport, row)
    assert (code, row.message in answer.get("message", "")) == (row.code, True), answer
    if row.code == 429:
        (cause,) = answer["details"]["causes"]
        assert cause["reason"] == "DisruptionBudget"
        assert row.cause in cause["message"]
        assert ("retry-after", "10") in headers or not row.stale
    await _look(client, row)


async def _evict(transport: InProcessTransport, row: Row) -> tuple[int, Any, list[tuple[str, str]]]:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": row.named, "namespace": "apart"}}
    query = (("dryRun", "All"),) if row.dry_run else ()
    headers = {"content-type": "application/json", "accept": "application/json"}
    path = PODS.path("apart", "p", "eviction")
    response = await transport.send(Request("POST", path, query, headers, json.dumps(body).encode()))
    told = [(name.lower(), value) for name, value in response.headers]
    return response.status, json.loads(response.body), told


async def _look(client: RestClient, row: Row) -> None:
    """Compare what is left of pod and budget with what the row says."""
    for number, before in enumerate(row.budgets):
        status = (await client.get(BUDGETS, "apart", f"b-{number}"))["status"]
        assert status["disruptionsAllowed"] == before["disruptionsAllowed"] - row.consumed
        assert list(status.get("disruptedPods") or {}) == (["p"] if row.consumed else [])
    if row.pod is None:
        return
    try:
        pod = await client.get(PODS, "apart", "p")
    except NotFound:
        assert row.evicted
        assert row.pod["phase"] in ("Succeeded", "Failed"), "only a pod that ended goes at once"
        return
    assert ("deletionTimestamp" in pod["metadata"]) == (row.evicted or row.terminating)
    marks = [one for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget"] if row.evicted else []
    if row.evicted and not row.terminating:
        (mark,) = marks
        assert (mark["status"], mark["reason"], mark["message"]) == (
            "True", "EvictionByEvictionAPI", "Eviction API: evicting",
        )  # fmt: skip
