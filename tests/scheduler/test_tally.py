"""Counts that are kept equal counts that are made."""

import random

from homeport.api.selectors import label_selector_from_object
from homeport.scheduler.cache import ClusterCache
from homeport.scheduler.model import Node, Pod, Snapshot

SELECTORS = [
    label_selector_from_object({"matchLabels": {"app": "a"}}),
    label_selector_from_object({"matchLabels": {"app": "b", "tier": "1"}}),
    label_selector_from_object({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
    label_selector_from_object({"matchLabels": {"statefulset.kubernetes.io/pod-name": "p1"}}),
    label_selector_from_object({}),
]


def a_pod(rng: random.Random) -> Pod:
    uid = f"p{rng.randrange(12)}"
    labels = {"statefulset.kubernetes.io/pod-name": uid, "app": rng.choice("ab")}
    if rng.random() < 0.5:
        labels["tier"] = rng.choice("12")
    return Pod(rng.choice(("x", "y")) if uid > "p5" else "x", uid, uid, labels, terminating=rng.random() < 0.2)


def test_kept_counts_are_those_that_counting_gives() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        cache = ClusterCache()
        for _ in range(80):
            name = rng.choice(("n1", "n2", "n3"))
            match rng.randrange(6):
                case 0:
                    cache.put_node(Node(name, {}, (), False, {}))
                case 1:
                    cache.drop_node(name)
                case 2:
                    cache.drop_pod(f"p{rng.randrange(12)}")
                case 3:
                    cache.assume(a_pod(rng), name)
                case _:
                    pod = a_pod(rng)
                    cache.put_pod(Pod(pod.namespace, pod.name, pod.uid, pod.labels, name, terminating=pod.terminating))
            kept = cache.snapshot()
            counted = Snapshot(kept.nodes, kept.namespaces)
            for namespace in ("x", "y"):
                for selector in SELECTORS:
                    found = {node: count for node, count in kept.matching(namespace, selector).items() if count}
                    assert found == {n: c for n, c in counted.matching(namespace, selector).items() if c}
