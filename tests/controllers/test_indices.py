"""What a selector matches is found by an index, and is what matches."""

from typing import Any

import pytest

from homeport.api.selectors import parse_label_selector
from homeport.client.index import Index, key_of
from homeport.controllers.indices import index_by_label, selected


class Pods:
    """A copy of pods with indices on it."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.indices: dict[str, Index] = {}
        index_by_label(self)  # type: ignore[arg-type]
        for pod in pods:
            for index in self.indices.values():
                index.insert(key_of(pod), pod)

    def add_indexer(self, name: str, indexer: Any) -> None:
        self.indices[name] = Index(indexer)

    def by_index(self, name: str, value: str) -> Any:
        return self.indices[name].get(value)


def pod(name: str, namespace: str = "default", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=a", ["a-0", "a-1"]),
        ("app=a,role=first", ["a-0"]),
        ("app=c", []),
        ("app in (a, b)", ["a-0", "a-1", "b-0"]),
        ("app!=a", ["b-0", "none"]),
        ("", ["a-0", "a-1", "b-0", "none"]),
    ],
)
def test_pods_are_found_by_their_labels(selector: str, names: list[str]) -> None:
    pods = Pods(
        pod("a-0", app="a", role="first"), pod("a-1", app="a"), pod("b-0", app="b"), pod("none"),
        pod("a-0", "other", app="a"),
    )  # fmt: skip
    found = selected(pods, "default", parse_label_selector(selector))  # type: ignore[arg-type]
    assert sorted(one["metadata"]["name"] for one in found) == names
