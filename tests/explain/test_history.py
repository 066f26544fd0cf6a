"""Changes of objects become a timeline."""

from copy import deepcopy
from typing import Any

import pytest

from homeport.clock import parse_time
from homeport.explain.history import Change, Concern, Moment, rewound, timeline
from homeport.explain.model import Snapshot
from homeport.explain.names import asked
from tests.explain.objects import owned, pod, service, slice_of, statefulset

WEB = Concern.of_service("nginx", service())
MEMBER = Concern(pods=frozenset(("web-0",)))
STARTING = pod("web-0", ready=False, state={"waiting": {"reason": "ContainerCreating"}}, phase="Pending")
UNREADY, READY = pod("web-0", ready=False), pod("web-0")
LEAVING = pod("web-0", metadata={"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30})
ENDED = pod("web-0", ready=False, state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})


def told(kind: str, name: str, old: Any, new: Any, concern: Concern) -> list[str]:
    return [one.says for one in timeline([Change(kind, name, 1.5, old, new)], concern)]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (None, READY, ["created"]),
        (READY, None, ["deleted: it is gone"]),
        (STARTING, UNREADY, ["phase Pending → Running", "container main runs"]),
        (UNREADY, READY, ["became ready"]),
        (READY, UNREADY, ["is no longer ready"]),
        (READY, LEAVING, ["terminating: it has 30 s to end"]),
        (UNREADY, ENDED, ["container main ended with exit code 137 (OOMKilled)"]),
        (
            READY,
            pod("web-0", metadata={"labels": {"app": "other"}}),
            ["label app: web → other"],
        ),
        (READY, deepcopy(READY), []),
    ],
)
def test_pods(old: Any, new: Any, says: list[str]) -> None:
    assert told("Pod", "web-0", old, new, MEMBER) == says
    assert told("Pod", "web-0", old, new, WEB) == says


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ([], [("web-0", "10.244.0.2", "unready")], ["endpoint 10.244.0.2 (web-0) added: not ready"]),
        (
            [("web-0", "10.244.0.2", "unready"), ("web-1", "10.244.0.3", "ready")],
            [("web-0", "10.244.0.2", "ready"), ("web-1", "10.244.0.3", "ready")],
            ["endpoint 10.244.0.2 (web-0): not ready → ready"],
        ),
        (
            [("web-0", "10.244.0.2", "ready")],
            [("web-0", "10.244.0.2", "leaving")],
            ["endpoint 10.244.0.2 (web-0): ready → terminating, still serving"],
        ),
        ([("web-0", "10.244.0.2", "gone")], [], ["endpoint 10.244.0.2 (web-0) taken out"]),
    ],
)
def test_slices(old: Any, new: Any, says: list[str]) -> None:
    for concern in (WEB, MEMBER, Concern.of_name(asked("web-0.nginx", "default", "cluster.local")[0], service())):
        assert told("EndpointSlice", "nginx-abc", slice_of("nginx", *old), slice_of("nginx", *new), concern) == says


def test_of_a_member_only_its_own_endpoint_is_told() -> None:
    old, new = slice_of("nginx"), slice_of("nginx", ("web-0", "10.244.0.2", "ready"), ("web-1", "10.244.0.3", "ready"))
    assert told("EndpointSlice", "nginx-abc", old, new, MEMBER) == ["endpoint 10.244.0.2 (web-0) added: ready"]
    assert len(told("EndpointSlice", "nginx-abc", old, new, WEB)) == 2
    assert told("EndpointSlice", "nginx-abc", old, new, Concern.of_service("other", None)) == []


def test_edits_of_a_service_are_told_field_by_field() -> None:
    new = service(selector={"app": "db"}, sessionAffinity="ClientIP")
    assert told("Service", "nginx", service(), new, WEB) == [
        "spec selector: app=web → app=db",
        "spec sessionAffinity: none → ClientIP",
    ]


def test_others_are_left_out_and_a_controllers_pods_are_not() -> None:
    other = pod("db-0", metadata={"labels": {"app": "db"}})
    assert told("Pod", "db-0", None, other, WEB) == []
    assert told("Pod", "db-0", None, other, MEMBER) == []
    mine = Concern(owners=frozenset({("StatefulSet", "web")}))
    assert told("Pod", "web-0", None, owned(pod("web-0")), mine) == ["created"]
    assert told("Pod", "db-0", None, other, mine) == []


def test_a_moment_has_a_time() -> None:
    shown = Moment(parse_time("2026-01-01T00:00:01.5Z"), "Pod web-0", "became ready")
    assert shown.as_json(shown.at + 1.5) == {
        "time": "2026-01-01T00:00:01.500Z",
        "ageSeconds": 1.5,
        "object": "Pod web-0",
        "says": "became ready",
    }


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (None, statefulset(3), ["created"]),
        (statefulset(3), statefulset(2), ["spec replicas: 3 → 2"]),
        (
            statefulset(template={"spec": {"containers": [{"image": "db:1"}]}}),
            statefulset(template={"spec": {"containers": [{"image": "db:2"}]}}),
            ["pod template changed: db:1 → db:2"],
        ),
        (statefulset(3), statefulset(3, updateStrategy={"type": "OnDelete"}), ["spec updateStrategy changed"]),
        (statefulset(3), statefulset(3, ready=2), []),
    ],
)
def test_what_was_asked_of_a_set_is_told(old: Any, new: Any, says: list[str]) -> None:
    assert told("StatefulSet", "web", old, new, Concern(owners=frozenset({("StatefulSet", "web")}))) == says
    assert told("StatefulSet", "web", old, new, MEMBER) == []


def event(name: str, time: str) -> dict[str, Any]:
    return {"kind": "Event", "metadata": {"name": name}, "firstTimestamp": time, "involvedObject": {}}


def test_a_namespace_is_as_it_was() -> None:
    """web-0 was not ready, web-1 is new, web-2 is gone; of the events one was not told yet."""
    now = Snapshot(
        "default",
        "cluster.local",
        {
            "Pod": (pod("web-0"), pod("web-1"), pod("web-3")),
            "Service": (service(),),
            "Event": (event("a", "2026-01-01T00:00:01Z"), event("b", "2026-01-01T00:00:03Z")),
        },
    )
    firsts = [
        Change("Pod", "web-0", 0, UNREADY, READY),
        Change("Pod", "web-1", 0, None, pod("web-1")),
        Change("Pod", "web-2", 0, pod("web-2"), None),
        Change("EndpointSlice", "nginx-abc", 0, slice_of("nginx"), None),
    ]
    was = rewound(now, firsts, parse_time("2026-01-01T00:00:02Z"))
    assert was.of("Pod") == (UNREADY, pod("web-2"), pod("web-3"))
    assert was.of("Service") == (service(),)
    assert was.of("EndpointSlice") == (slice_of("nginx"),)
    assert [one["metadata"]["name"] for one in was.of("Event")] == ["a"]


def test_a_namespace_that_is_gone_was_there() -> None:
    gone = Snapshot("other", "cluster.local", {}, exists=False)
    assert rewound(gone, [Change("Pod", "web-0", 0, READY, None)], 0).exists
    assert not rewound(gone, [], 0).exists


def test_what_the_server_tells_is_read() -> None:
    tree = {"kind": "Pod", "name": "web-0", "time": "1970-01-01T00:00:07.250Z", "old": None, "new": {"spec": {}}}
    assert Change.read(tree) == Change("Pod", "web-0", 7.25, None, {"kind": "Pod", "spec": {}})
