"""Watches that say what they are about hear of that alone, and of all of it, in the order they came."""

import random
from typing import Any

from homeport.server.cache import Change
from homeport.server.objects import Stored, encode_json
from homeport.server.observers import KEY, NODE, Concern, Observers


class Told:
    def __init__(self) -> None:
        self.changes: list[Change] = []

    def offer(self, change: Change) -> None:
        self.changes.append(change)


def pod(name: str, node: str, revision: int) -> Stored:
    spec: dict[str, Any] = {"nodeName": node} if node else {}
    tree = {"metadata": {"name": name}, "spec": spec}
    return Stored(f"/registry/pods/default/{name}", encode_json(tree), revision)


def concerns(concern: Concern | None, change: Change) -> bool:
    match concern:
        case ("key", key):
            return key == change.key
        case ("node", node):
            return any(one and one.tree["spec"].get("nodeName", "") == node for one in (change.old, change.new))
    return True


def test_who_is_concerned_is_told_in_order() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        observers, known = Observers(), {}
        for _ in range(rng.randrange(12)):
            told = Told()
            known[told] = rng.choice(
                [None, (KEY, "/registry/pods/default/a"), (KEY, "/registry/pods/default/b"), (NODE, "n1"), (NODE, "")]
            )
            observers.add(told, known[told])
        for told in [told for told in known if rng.random() < 0.3]:
            observers.drop(told)
            observers.drop(told)
            del known[told]
        assert len(observers) == len(known)
        for revision in range(1, 10):
            name = rng.choice("abc")
            old, new = (pod(name, rng.choice(("", "n1", "n2")), revision) for _ in range(2))
            change = Change(new.key, revision, rng.choice((old, None)), rng.choice((new, None)), 0.0)
            expected = [told for told, concern in known.items() if concerns(concern, change)]
            assert list(observers.concerned(change)) == expected
