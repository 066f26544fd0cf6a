"""What becomes of an object, by the state of its owners."""

import pytest

from homeport.api.resources import find
from homeport.controllers.garbagecollector.graph import FOREGROUND, ORPHAN, Graph, Node, Reference
from homeport.controllers.garbagecollector.reconcile import (
    DeleteObject,
    DropFinalizer,
    DropReferences,
    OwnerState,
    UnblockReferences,
    collect,
    finish_owner,
)

PODS = find("Pod")
SOLID, WAITING, DANGLING = OwnerState.SOLID, OwnerState.WAITING, OwnerState.DANGLING


def node(
    uid: str, *owners: str, finalizers: tuple[str, ...] = (), terminating: bool = False, blocks: bool = True
) -> Node:
    references = tuple(Reference("v1", "Pod", owner, owner, blocks) for owner in owners)
    return Node(PODS, "ns", uid, uid, "1", references, finalizers, terminating)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"a": SOLID}, []),
        ({"a": SOLID, "b": DANGLING}, [DropReferences(node("x", "a", "b"), frozenset({"b"}))]),
        ({"a": SOLID, "b": WAITING}, [DropReferences(node("x", "a", "b"), frozenset({"b"}))]),
        ({"a": DANGLING}, [DeleteObject(node("x", "a"), "Background")]),
        ({"a": WAITING}, [DeleteObject(node("x", "a"), "Background")]),
        ({"a": WAITING, "b": DANGLING}, [DeleteObject(node("x", "a", "b"), "Background")]),
    ],
)
def test_table_14_2_owners_decide(states: dict[str, OwnerState], expected: list[object]) -> None:
    assert collect(node("x", *states), states, []) == expected


def test_table_14_2_what_a_waiting_owner_leaves_with_dependents_goes_in_the_foreground() -> None:
    middle = node("x", "a")
    assert collect(middle, {"a": WAITING}, [node("y", "x")]) == [DeleteObject(middle, "Foreground")]


def test_table_14_2_a_circle_is_opened_first() -> None:
    middle = node("x", "a")
    circle = node("a", "x", finalizers=(FOREGROUND,), terminating=True)
    assert collect(middle, {"a": WAITING}, [circle]) == [UnblockReferences(middle), DeleteObject(middle, "Foreground")]


@pytest.mark.parametrize(("finalizer", "policy"), [(ORPHAN, "Orphan"), (FOREGROUND, "Foreground")])
def test_table_14_2_a_finalizer_already_there_decides(finalizer: str, policy: str) -> None:
    item = node("x", "a", finalizers=(finalizer,))
    assert collect(item, {"a": DANGLING}, []) == [DeleteObject(item, policy)]


def test_table_14_2_what_terminates_already_is_left_alone() -> None:
    assert collect(node("x", "a", terminating=True), {"a": DANGLING}, []) == []
    foreground = node("x", "a", finalizers=(FOREGROUND,), terminating=True)
    assert collect(foreground, {"a": SOLID}, []) == []


def test_an_orphaning_owner_lets_all_dependents_go_and_then_itself() -> None:
    owner = node("a", finalizers=("orphan",), terminating=True)
    child = node("x", "a")
    assert finish_owner(owner, [child]) == [DropReferences(child, frozenset({"a"})), DropFinalizer(owner, ORPHAN)]


def test_a_waiting_owner_waits_for_those_that_block_only() -> None:
    owner = node("a", finalizers=(FOREGROUND,), terminating=True)
    assert finish_owner(owner, [node("x", "a")]) == []
    assert finish_owner(owner, [node("x", "a", blocks=False)]) == [DropFinalizer(owner, FOREGROUND)]


def test_the_graph_knows_dependents_of_an_owner_it_has_not_seen() -> None:
    graph = Graph()
    graph.put(node("x", "a"))
    assert [each.uid for each in graph.dependents("a")] == ["x"]
    graph.put(node("x", "b"))
    assert list(graph.dependents("a")) == []
    graph.remove("x")
    assert not graph.has_dependents("b")
