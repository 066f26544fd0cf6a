"""Reading: pages, versions, representations, discovery, health."""

import gzip
import json

import pytest

from tests.server.inprocess import CONFIG_MAPS, MERGE, PODS, config_map, pod, running

pytestmark = pytest.mark.virtual


async def test_pages_show_one_moment_whatever_is_written_meanwhile() -> None:
    async with running() as ask:
        for name in "abcde":
            await ask.create(CONFIG_MAPS, config_map(name))
        first = await ask.get(f"{CONFIG_MAPS}?limit=2")
        await ask("DELETE", f"{CONFIG_MAPS}/c")
        await ask.create(CONFIG_MAPS, config_map("cc"))
        names = [each["metadata"]["name"] for each in first["items"]]
        page = first
        while token := page["metadata"].get("continue"):
            page = await ask.get(f"{CONFIG_MAPS}?limit=2&continue={token}")
            assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            names += [each["metadata"]["name"] for each in page["items"]]
        assert names == list("abcde")


async def test_an_expired_page_offers_to_go_on_from_now() -> None:
    async with running() as ask:
        for name in "abc":
            await ask.create(CONFIG_MAPS, config_map(name))
        first = await ask.get(f"{CONFIG_MAPS}?limit=1")
        await ask("PATCH", f"{CONFIG_MAPS}/c", {"data": {"k": "new"}}, content_type=MERGE)
        await ask.store.compact(ask.store.revision)
        expired = await ask("GET", f"{CONFIG_MAPS}?limit=1&continue={first['metadata']['continue']}")
        assert (expired.status, expired.body["reason"]) == (410, "Expired")
        rest = await ask.get(f"{CONFIG_MAPS}?continue={expired.body['metadata']['continue']}")
        assert [each["metadata"]["name"] for each in rest["items"]] == ["b", "c"]
        assert rest["items"][1]["data"] == {"k": "new"}


@pytest.mark.parametrize("token", ["x", "e30", "%%%", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIifQ"])
async def test_a_made_up_token_is_refused(token: str) -> None:
    async with running() as ask:
        answer = await ask("GET", f"{CONFIG_MAPS}?limit=1&continue={token}")
        assert answer.status == 400
        assert answer.body["message"].startswith("invalid continue token: ")


async def test_a_list_read_twice_is_the_same_until_something_changes() -> None:
    async with running() as ask:
        await ask.create(CONFIG_MAPS, config_map("a"))
        first, second = await ask("GET", CONFIG_MAPS), await ask("GET", CONFIG_MAPS)
        assert first.raw.body == second.raw.body
        await ask.create(PODS, pod("p"))  # another resource: same items, newer version
        third = await ask.get(CONFIG_MAPS)
        assert third["items"] == first.body["items"]
        assert int(third["metadata"]["resourceVersion"]) > int(first.body["metadata"]["resourceVersion"])


async def test_a_large_list_is_compressed_for_those_who_take_it() -> None:
    async with running() as ask:
        for number in range(3):
            await ask.create(CONFIG_MAPS, config_map(f"c-{number}", text="x" * 100_000))
        packed = await ask("GET", CONFIG_MAPS, accept_encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert len(json.loads(gzip.decompress(packed.raw.body))["items"]) == 3
        assert "content-encoding" not in (await ask("GET", CONFIG_MAPS)).headers


async def test_metadata_alone_is_what_a_partial_client_gets() -> None:
    async with running() as ask:
        await ask.create(CONFIG_MAPS, config_map("a", k="v"))
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
        found = (await ask("GET", CONFIG_MAPS, accept=accept)).body
        assert found["kind"] == "PartialObjectMetadataList"
        assert [sorted(item) for item in found["items"]] == [["apiVersion", "kind", "metadata"]]


async def test_aggregated_discovery_is_told_by_its_content_type_and_kept_by_its_etag() -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    async with running() as ask:
        full = await ask("GET", "/apis", accept=accept)
        assert full.headers["content-type"] == accept
        again = await ask("GET", "/apis", accept=accept, if_none_match=full.headers["etag"])
        assert (again.status, again.raw.body) == (304, b"")
        groups = {item["metadata"]["name"] for item in full.body["items"]}
        assert {"apps", "storage.k8s.io", "events.k8s.io"} <= groups


async def test_health_says_which_check_fails() -> None:
    async with running() as ask:
        assert (await ask("GET", "/readyz")).raw.body == b"ok"
        verbose = (await ask("GET", "/readyz?verbose&exclude=log")).raw.body.decode()
        assert verbose.splitlines() == ["[+]ping ok", "[+]log excluded: ok", "[+]etcd ok", "readyz check passed"]
        await ask.server.stop()
        failed = await ask("GET", "/readyz")
        assert failed.status == 500
        assert b"[-]etcd failed: reason withheld" in failed.raw.body
        away = await ask("GET", PODS)
        assert (away.status, away.headers["retry-after"]) == (503, "1")


async def test_metrics_count_answers() -> None:
    async with running() as ask:
        await ask("GET", f"{PODS}/nope")
        page = (await ask("GET", "/metrics")).raw.body.decode()
        assert 'apiserver_request_total{code="404",component="apiserver",group="",resource="pods"' in page


async def test_the_anonymous_see_the_health_alone() -> None:
    async with running() as ask:
        stranger = ask.as_user(None)
        assert (await stranger("GET", "/version")).status == 200
        refused = await stranger("GET", PODS)
        assert refused.status == 403
        assert refused.body["message"] == (
            'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace '
            '"default"'
        )
