"""Slices: the readiness table, grouping by ports, and packing that writes as little as it can."""

import random
from dataclasses import replace

import pytest

from homeport.controllers.backends import Backend, ContainerPort, Port, Service, ServicePort
from homeport.controllers.endpointslice.model import (
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    CreateSlice,
    DeleteSlice,
    Endpoint,
    Slice,
    SliceContent,
    UpdateSlice,
)
from homeport.controllers.endpointslice.packing import pack
from homeport.controllers.endpointslice.reconcile import Plan, endpoint_of, reconcile

HTTP = Port("http", "TCP", 80)
SERVICE = Service(
    namespace="ns",
    name="web",
    uid="service-uid",
    created="2026-01-01T00:00:00Z",
    labels={"team": "x"},
    selector={"app": "web"},
    type="ClusterIP",
    cluster_ip="10.96.0.7",
    families=("IPv4",),
    ports=(ServicePort("http", "TCP", 80),),
)
ZONES = {"node-1": "zone-a"}


def pod(number: int, **changes: object) -> Backend:
    made = Backend(
        namespace="ns",
        name=f"web-{number:04}",
        uid=f"uid-{number}",
        addresses=(f"10.244.{number // 250}.{number % 250 + 1}",),
        node="node-1",
        hostname=f"web-{number}",
        subdomain="web",
        ready=True,
        ready_since="2026-01-01T00:00:05Z",
        terminating=False,
        ended=False,
        ports=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def endpoint(number: int) -> Endpoint:
    return endpoint_of(pod(number), SERVICE, "IPv4", "zone-a")


def a_slice(name: str, numbers: range, ports: tuple[Port, ...] = (HTTP,), owner: str = "service-uid") -> Slice:
    labels = {"team": "x", SERVICE_NAME_LABEL: "web", MANAGED_BY_LABEL: "endpointslice-controller.k8s.io"}
    content = SliceContent("IPv4", ports, tuple(endpoint(number) for number in numbers), labels)
    return Slice(name, f"uid-{name}", owner, content)


def apply(slices: list[Slice], plan: Plan) -> list[Slice]:
    by_name = {item.name: item for item in slices}
    for number, action in enumerate(plan.actions):
        match action:
            case CreateSlice(content):
                name = f"new-{number}-{len(by_name)}"
                by_name[name] = Slice(name, f"uid-{name}", SERVICE.uid, content)
            case UpdateSlice(name, content):
                by_name[name] = replace(by_name[name], content=content)
            case DeleteSlice(name, _):
                del by_name[name]
    return list(by_name.values())


@pytest.mark.parametrize(
    ("ready", "terminating", "publish", "expected"),
    [
        (True, False, False, (True, True, False)),
        (True, False, True, (True, True, False)),
        (False, False, False, (False, False, False)),
        (False, False, True, (True, False, False)),
        (True, True, False, (False, True, True)),
        (False, True, False, (False, False, True)),
        (True, True, True, (True, True, True)),
        (False, True, True, (True, False, True)),
    ],
)
def test_readiness_follows_the_table(
    ready: bool, terminating: bool, publish: bool, expected: tuple[bool, bool, bool]
) -> None:
    service = replace(SERVICE, publish_not_ready=publish)
    made = endpoint_of(pod(1, ready=ready, terminating=terminating), service, "IPv4", "")
    assert (made.ready, made.serving, made.terminating) == expected


def test_a_service_without_endpoints_has_one_placeholder() -> None:
    plan = reconcile(SERVICE, [], ZONES, [])
    (create,) = plan.actions
    assert isinstance(create, CreateSlice)
    assert (create.content.ports, create.content.endpoints) == ((), ())
    assert reconcile(SERVICE, [], ZONES, apply([], plan)).actions == ()


def test_the_placeholder_is_turned_into_the_first_slice_and_back() -> None:
    empty = apply([], reconcile(SERVICE, [], ZONES, []))
    filled = reconcile(SERVICE, [pod(1)], ZONES, empty)
    assert [type(action) for action in filled.actions] == [UpdateSlice]
    back = reconcile(SERVICE, [], ZONES, apply(empty, filled))
    assert [type(action) for action in back.actions] == [UpdateSlice]


def test_ended_pods_and_those_without_address_are_left_out() -> None:
    pods = [pod(1, ended=True), pod(2, addresses=()), pod(3)]
    (create,) = reconcile(SERVICE, pods, ZONES, []).actions
    assert isinstance(create, CreateSlice)
    assert [e.target.name for e in create.content.endpoints if e.target] == ["web-0003"]


def test_a_pod_on_an_unknown_node_waits_for_it() -> None:
    plan = reconcile(SERVICE, [pod(1, node="node-9")], ZONES, [])
    assert plan.missing_nodes == {"node-9"}
    assert [a.content.endpoints for a in plan.actions if isinstance(a, CreateSlice)] == [()]


def test_named_ports_that_resolve_differently_make_slices_of_their_own() -> None:
    service = replace(SERVICE, ports=(ServicePort("metrics", "TCP", "metrics"),))
    pods = [
        pod(1, ports=(ContainerPort("metrics", "TCP", 9100),)),
        pod(2, ports=(ContainerPort("metrics", "TCP", 9200),)),
        pod(3, ports=(ContainerPort("metrics", "UDP", 9300),)),
    ]
    contents = [a.content for a in reconcile(service, pods, ZONES, []).actions if isinstance(a, CreateSlice)]
    assert [[port.number for port in content.ports] for content in contents] == [[9100], [9200], []]


def test_hostnames_are_those_of_the_subdomain() -> None:
    assert endpoint(1).hostname == "web-1"
    assert endpoint_of(pod(1, subdomain="other"), SERVICE, "IPv4", "").hostname == ""


def test_slices_of_a_former_service_are_deleted() -> None:
    plan = reconcile(SERVICE, [pod(1)], ZONES, [a_slice("old", range(1, 2), owner="former-uid")])
    assert [type(action) for action in plan.actions] == [DeleteSlice, CreateSlice]


def test_a_label_of_the_service_reaches_its_slices() -> None:
    service = replace(SERVICE, labels={"team": "y"})
    (update,) = reconcile(service, [pod(1)], ZONES, [a_slice("a", range(1, 2))]).actions
    assert isinstance(update, UpdateSlice)
    assert update.content.labels["team"] == "y"


def test_a_terminating_service_gets_no_new_slices() -> None:
    assert reconcile(replace(SERVICE, terminating=True), [pod(1)], ZONES, []).actions == ()


def test_five_more_beside_97_and_100_make_a_slice_of_five() -> None:
    existing = [a_slice("a", range(97)), a_slice("b", range(100, 200))]
    packing = pack(existing, [endpoint(n) for n in (*range(97), *range(100, 200), *range(300, 305))], limit=100)
    assert [len(chunk) for chunk in packing.created] == [5]
    assert packing.changed == {}


def test_leftovers_go_to_the_tightest_unchanged_slice_that_takes_them_all() -> None:
    existing = [a_slice("a", range(50)), a_slice("b", range(100, 195))]
    packing = pack(existing, [endpoint(n) for n in (*range(50), *range(100, 195), *range(300, 304))], limit=100)
    assert {name: len(endpoints) for name, endpoints in packing.changed.items()} == {"b": 99}


def test_a_slice_that_changes_anyhow_is_filled_first() -> None:
    existing = [a_slice("a", range(50)), a_slice("b", range(100, 195))]
    packing = pack(existing, [endpoint(n) for n in (*range(1, 50), *range(100, 195), 300)], limit=100)
    assert {name: len(endpoints) for name, endpoints in packing.changed.items()} == {"a": 50}


@pytest.mark.parametrize("seed", range(50))
def test_any_history_shows_exactly_the_pods_and_comes_to_rest(seed: int) -> None:
    rng = random.Random(seed)
    slices: list[Slice] = []
    alive: dict[int, Backend] = {}
    for _ in range(20):
        for number in rng.sample(range(60), rng.randint(0, 12)):
            if number in alive and rng.random() < 0.5:
                del alive[number]
            else:
                alive[number] = pod(number, ready=rng.random() < 0.7)
        plan = reconcile(SERVICE, list(alive.values()), ZONES, slices, limit=7)
        slices = apply(slices, plan)
        shown = [endpoint for item in slices for endpoint in item.content.endpoints]
        assert sorted(e.target.name for e in shown if e.target) == sorted(p.name for p in alive.values())
        assert {e.target.name: e.ready for e in shown if e.target} == {p.name: p.ready for p in alive.values()}
        assert all(len(item.content.endpoints) <= 7 for item in slices)
        assert reconcile(SERVICE, list(alive.values()), ZONES, slices, limit=7).actions == ()
