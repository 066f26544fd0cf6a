"""What the server remembers of the recent past."""

import asyncio

import pytest

from tests.server.inprocess import CONFIG_MAPS, MERGE, PODS, config_map, pod, running

pytestmark = pytest.mark.virtual
PATH = "/homeport/history"


async def test_changes_come_with_their_ages_oldest_first() -> None:
    async with running() as ask:
        await ask.create(PODS, pod("web-0"))
        await ask.create(CONFIG_MAPS, config_map("settings"))
        await asyncio.sleep(5)
        await ask("PATCH", f"{PODS}/web-0", {"metadata": {"labels": {"app": "web"}}}, content_type=MERGE)
        await asyncio.sleep(2)
        found = [one for one in (await ask.get(f"{PATH}?namespace=default"))["changes"] if one["kind"] == "Pod"]
        assert [(one["kind"], one["name"], round(one["ageSeconds"])) for one in found] == [
            ("Pod", "web-0", 7),
            ("Pod", "web-0", 2),
        ]
        assert found[0]["old"] is None
        assert found[1]["new"]["metadata"]["labels"] == {"app": "web"}
        assert len((await ask.get(f"{PATH}?since=3"))["changes"]) == 1
        assert (await ask.get(f"{PATH}?namespace=other"))["changes"] == []


async def test_who_may_not_read_it_does_not() -> None:
    async with running() as ask:
        assert (await ask.as_user(None)("GET", PATH)).status == 403
        assert (await ask("GET", f"{PATH}?since=soon")).status == 400
