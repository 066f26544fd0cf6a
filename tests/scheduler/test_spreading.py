"""Pods of one Service or set keep apart where they can, without having asked."""

import random

from homeport.scheduler.codec import decode_pod
from homeport.scheduler.decide import Placement, decide
from homeport.scheduler.spreading import with_default_spread
from tests.scheduler.test_decide import NOTHING, node, pod, snapshot, spread

WEB = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "x"}}}
OTHER = {"metadata": {"name": "other"}, "spec": {"selector": {"app": "y"}}}


def test_a_pod_of_nothing_gets_none_and_its_own_constraints_stand() -> None:
    alone = decode_pod(pod(labels={"app": "x"}))
    assert with_default_spread(alone, [OTHER], None) == alone
    own = decode_pod(pod(labels={"app": "x"}, topologySpreadConstraints=[spread()]))
    assert with_default_spread(own, [WEB], None) == own


def test_selectors_of_services_and_of_the_owner_must_all_match() -> None:
    found = with_default_spread(decode_pod(pod(labels={"app": "x"})), [WEB, OTHER], {"matchLabels": {"set": "s"}})
    assert [constraint.topology_key for constraint in found.spread] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    selector = found.spread[0].selector
    assert selector.matches({"app": "x", "set": "s"})
    assert not selector.matches({"app": "x"})


def test_the_next_pod_goes_to_the_node_with_fewer_of_its_kind() -> None:
    cluster = snapshot(
        node("n1"), node("n2"), pods={"n1": [pod("a", labels={"app": "x"})], "n2": [pod("b", labels={"app": "y"})]}
    )
    wanted = with_default_spread(decode_pod(pod(labels={"app": "x"})), [WEB], None)
    chosen = {
        found.node
        for seed in range(10)
        if isinstance(found := decide(wanted, cluster, NOTHING, random.Random(seed)), Placement)
    }
    assert chosen == {"n2"}
