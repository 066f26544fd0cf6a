"""What the server remembers of the recent past."""

import asyncio

import pytest

from homeport.clock import milli_time, parse_time
from homeport.server.cache import WINDOW_LEAST
from homeport.testing.loop import VirtualClock
from tests.server.inprocess import CONFIG_MAPS, MERGE, PODS, config_map, pod, running

pytestmark = pytest.mark.virtual
CLOCK = VirtualClock()
PATH = "/homeport/history"


async def test_changes_come_with_their_ages_oldest_first() -> None:
    async with running() as ask:
        await ask.create(PODS, pod("web-0"))
        await ask.create(CONFIG_MAPS, config_map("settings"))
        await asyncio.sleep(5)
        await ask("PATCH", f"{PODS}/web-0", {"metadata": {"labels": {"app": "web"}}}, content_type=MERGE)
        await asyncio.sleep(2)
        found = [one for one in (await ask.get(f"{PATH}?namespace=default"))["changes"] if one["kind"] == "Pod"]
        ages = [round(CLOCK.now() - parse_time(one["time"])) for one in found]
        assert [(one["kind"], one["name"], age) for one, age in zip(found, ages, strict=True)] == [
            ("Pod", "web-0", 7),
            ("Pod", "web-0", 2),
        ]
        assert found[0]["old"] is None
        assert found[1]["new"]["metadata"]["labels"] == {"app": "web"}
        assert len((await ask.get(f"{PATH}?since=3"))["changes"]) == 1
        assert len((await ask.get(f"{PATH}?after={found[0]['time']}"))["changes"]) == 1
        assert (await ask.get(f"{PATH}?namespace=other"))["changes"] == []


async def test_of_each_object_the_first_change_after_a_moment_is_told() -> None:
    async with running() as ask:
        await ask.create(PODS, pod("web-0"))
        await asyncio.sleep(1)
        after = milli_time(CLOCK.now())
        await asyncio.sleep(1)
        for name in ("a", "b"):
            await ask("PATCH", f"{PODS}/web-0", {"metadata": {"labels": {"app": name}}}, content_type=MERGE)
        await ask.create(PODS, pod("web-1"))
        told = (await ask.get(f"{PATH}?after={after}&first=true"))["changes"]
        assert [(one["name"], one["old"] and one["old"]["metadata"].get("labels")) for one in told] == [
            ("web-0", None),
            ("web-1", None),
        ]
        assert told[0]["old"] is not None


async def test_it_says_how_far_back_it_knows_all() -> None:
    async with running() as ask:
        began = CLOCK.now()
        await asyncio.sleep(10)
        assert parse_time((await ask.get(PATH))["knownSince"]) == pytest.approx(began, abs=0.002)
        await ask.create(PODS, pod("web-0"))
        for number in range(WINDOW_LEAST):
            await ask("PATCH", f"{PODS}/web-0", {"metadata": {"labels": {"app": str(number)}}}, content_type=MERGE)
        forgotten = CLOCK.now()
        await asyncio.sleep(200)
        await ask("PATCH", f"{PODS}/web-0", {"metadata": {"labels": {"app": "last"}}}, content_type=MERGE)
        assert parse_time((await ask.get(PATH))["knownSince"]) == pytest.approx(forgotten, abs=0.1)


async def test_who_may_not_read_it_does_not() -> None:
    async with running() as ask:
        assert (await ask.as_user(None)("GET", PATH)).status == 403
        assert (await ask("GET", f"{PATH}?since=soon")).status == 400
        assert (await ask("GET", f"{PATH}?after=noon")).status == 400
