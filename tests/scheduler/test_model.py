"""What a node's state keeps beside its pods holds whatever comes and goes."""

from dataclasses import replace

from homeport.scheduler.model import Node, NodeState, Pod

NODE = Node("n1", {}, (), False, {})


def pod(name: str, priority: int = 0) -> Pod:
    return Pod("ns", name, name, priority=priority, requests={"cpu": 100})


def test_lesser_pods_are_those_of_lower_priority():
    state = NodeState(NODE)
    for one in (pod("a"), pod("b", 5), pod("c", -1)):
        state.put(one)
    assert [one.name for one in state.lesser_than(5)] == ["a", "c"]
    assert state.lesser_than(-1) == []
    state.put(replace(pod("c"), priority=7))  # its newer form
    assert state.lesser_than(0) == []
    state.drop("c")
    assert state.priorities[7] == 0


def test_without_leaves_the_node_as_it_is():
    state = NodeState(NODE)
    for one in (pod("a"), pod("b", 5)):
        state.put(one)
    other = state.without(state.lesser_than(5))
    assert list(other.pods) == ["b"]
    assert other.requested == {"cpu": 100}
    assert list(state.pods) == ["a", "b"]
    assert state.requested == {"cpu": 200}
