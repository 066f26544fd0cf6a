"""Which Services take a pod is found by its labels, whatever other Services there are."""

from typing import Any

from homeport.client.index import Index, key_of
from homeport.client.service_index import index_by_selector, services_of


class Services:
    """A copy of Services with the index on it."""

    def __init__(self, *services: dict[str, Any]) -> None:
        index_by_selector(self)  # type: ignore[arg-type]
        for one in services:
            self.index.insert(key_of(one), one)

    def add_indexer(self, name: str, indexer: Any) -> None:
        self.index = Index(indexer)

    def by_index(self, name: str, value: str) -> Any:
        return self.index.get(value)

    def of(self, labels: dict[str, str], namespace: str = "default") -> list[str]:
        return [one["metadata"]["name"] for one in services_of(self, namespace, labels)]  # type: ignore[arg-type]


def service(name: str, selector: dict[str, str] | None, namespace: str = "default") -> dict[str, Any]:
    spec = {} if selector is None else {"selector": selector}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_services_are_found_by_what_they_select() -> None:
    services = Services(
        service("zoo", {"app": "db"}),
        service("all", {}),
        service("none", None),
        service("db", {"app": "db", "role": "first"}),
        service("web", {"app": "web"}),
        service("db", {"app": "db"}, "other"),
    )
    assert services.of({"app": "db", "role": "first", "pod": "x"}) == ["db", "zoo"]
    assert services.of({"app": "db"}) == ["zoo"]
    assert services.of({"app": "db"}, "other") == ["db"]
    assert services.of({"role": "first"}) == []
    assert services.of({}) == []


def test_a_service_is_filed_anew_when_its_selector_changes() -> None:
    before, after = service("s", {"app": "a"}), service("s", {"app": "b"})
    services = Services(before)
    services.index.replace(key_of(before), before, after)
    assert (services.of({"app": "a"}), services.of({"app": "b"})) == ([], ["s"])
    services.index.replace(key_of(after), after, after)
    assert services.of({"app": "b"}) == ["s"]
