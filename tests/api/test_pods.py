"""What a pod's fields say about it."""

import pytest

from homeport.api import pods
from homeport.clock import parse_time

SINCE = "2026-01-01T00:00:10Z"


def pod(*, ready: str | None = "True", since: str | None = SINCE, phase: str = "Running", terminating: bool = False):
    conditions = [] if ready is None else [{"type": "Ready", "status": ready, "lastTransitionTime": since}]
    metadata = {"name": "web-0"} | ({"deletionTimestamp": SINCE} if terminating else {})
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}


@pytest.mark.parametrize(
    ("subject", "min_ready", "second", "available"),
    [
        (pod(), 0, 0, True),
        (pod(), 5, 14.9, False),
        (pod(), 5, 15, True),
        (pod(since=None), 0, 0, True),
        (pod(since=None), 5, 99, False),
        (pod(ready="False"), 0, 99, False),
        (pod(ready=None), 0, 99, False),
    ],
)
def test_a_pod_is_available_once_ready_for_long_enough(subject, min_ready, second, available):
    now = parse_time("2026-01-01T00:00:00Z") + second
    assert pods.is_available(subject, min_ready, now) is available


@pytest.mark.parametrize(
    ("subject", "active", "terminal"),
    [
        (pod(), True, False),
        (pod(terminating=True), False, False),
        (pod(phase="Failed"), False, True),
        (pod(phase="Succeeded", terminating=True), False, True),
    ],
)
def test_pods_that_ended_or_are_asked_to_end_no_longer_count(subject, active, terminal):
    assert pods.is_active(subject) is active
    assert pods.is_terminal(subject) is terminal


def test_a_pod_not_yet_created_has_no_phase():
    assert pods.phase({"metadata": {"name": "web-0"}}) == ""
