"""How long a request may take, and what becomes of a write nobody waited for (api-machinery 22.2)."""

import asyncio

import pytest

from homeport.errors import BadRequest
from homeport.server.routing import Target, deadline
from homeport.server.served import BY_PATH
from homeport.server.settings import Settings
from homeport.testing.recorded_store import RecordedStore
from tests.server.inprocess import CONFIG_MAPS, config_map, running

pytestmark = pytest.mark.virtual


@pytest.mark.parametrize(
    ("verb", "subresource", "asked", "seconds"),
    [
        ("create", "", "", 34),
        ("update", "status", "", 34),
        ("patch", "", "30s", 30),
        ("delete", "", "1h", 34),
        ("delete", "", "0s", 34),
        ("deletecollection", "", "1m30s", 34),
        ("create", "eviction", "+1.5s", 1.5),
        ("get", "", "", None),
        ("list", "", "5s", 5),
        ("list", "", "5m", 60),
        ("get", "scale", "0", None),
        ("list", "", "-5s", None),
        ("watch", "", "5s", None),
        ("get", "log", "5s", None),
        ("create", "exec", "", None),
        ("create", "proxy", "5s", None),
    ],
)
def test_the_shorter_of_limit_and_wish(verb: str, subresource: str, asked: str, seconds: float | None) -> None:
    target = Target(verb, BY_PATH["", "v1", "pods"], "default", "a", subresource)
    assert deadline({"timeout": asked} if asked else {}, target, Settings()) == seconds


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("5", 'missing unit in duration "5"'),
        ("soon", 'invalid duration "soon"'),
        ("3d", 'unknown unit "d" in duration "3d"'),
    ],
)
def test_what_is_no_duration_is_refused(asked: str, why: str) -> None:
    target = Target("list", BY_PATH["", "v1", "pods"], "default", None, "")
    with pytest.raises(BadRequest, match=f"^invalid timeout specified in the request URL - time: {why}$"):
        deadline({"timeout": asked}, target, Settings())


async def test_a_write_a_stalled_store_does_not_take_ends_with_504_and_may_stand_all_the_same() -> None:
    store, loop = RecordedStore(lambda _: None), asyncio.get_running_loop()
    async with running(store=store) as ask:
        store.stall()
        begun = loop.time()
        answer = await ask("POST", CONFIG_MAPS, config_map("a"))
        assert (answer.status, answer.body["reason"], loop.time() - begun) == (504, "Timeout", 34)
        assert answer.body["message"] == "Timeout: request did not complete within the allotted timeout"
        assert (await ask("GET", f"{CONFIG_MAPS}/a")).status == 404
        store.go_on()
        answer = await ask("POST", CONFIG_MAPS, config_map("a"))
        assert (answer.status, answer.body["reason"]) == (409, "AlreadyExists")
        assert (await ask.get(f"{CONFIG_MAPS}/a"))["metadata"]["name"] == "a"
    await store.close()
