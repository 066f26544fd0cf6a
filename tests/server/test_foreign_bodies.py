"""No body, however wrong, is more than refused: recorded requests with parts replaced, dropped and doubled."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.inprocess import running
from tests.vectors.load import load, topics
from tests.vectors.replay_api import NOT_YET_TOPICS, served

VALUES = [
    None, "", 0, -1, 1.5, True, [], {}, "x" * 70, "A b", [None], {"a": None}, 2**40, -(2**70), "2026-01-01T00:00:00Z",
    [[]], {"": ""}, "1Gi", "-1", [1, "a"], {"a": {"b": [{}]}},
]  # fmt: skip


def recorded() -> list[Any]:
    requests = []
    for topic in topics("api"):
        if topic in NOT_YET_TOPICS:
            continue
        for scenario in load("api", topic)["scenarios"]:
            if served(scenario):
                steps = [
                    (scenario.get("namespace"), step["request"]) for step in scenario["steps"] if "request" in step
                ]
                requests += [step for step in steps if "body" in step[1] and "<" not in json.dumps(step[1])]
    return requests


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def spoiled(body: Any, rng: random.Random) -> Any:
    """Return the body with one place changed."""
    copy = json.loads(json.dumps(body))
    found = list(places(copy))
    if not found:
        return rng.choice(VALUES)
    *way, last = rng.choice(found)
    at = copy
    for step in way:
        at = at[step]
    value = json.loads(json.dumps(rng.choice(VALUES)))
    match rng.randrange(4):
        case 0:
            del at[last]
        case 1 if isinstance(at, list):
            at.append(value)
        case 1:
            at[f"{last}x"] = value
        case _:
            at[last] = value
    return copy


@pytest.mark.virtual
@pytest.mark.parametrize("seed", range(4))
async def test_a_spoiled_body_is_never_a_fault_of_the_server(seed: int) -> None:
    rng, requests = random.Random(seed), recorded()
    async with running() as ask:
        for _ in range(400):
            namespace, request = rng.choice(requests)
            if namespace:
                await ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            body = request["body"]
            for _ in range(rng.randint(1, 3)):
                body = spoiled(body, rng)
            media = (request.get("headers") or {}).get("Content-Type") or "application/json"
            answer = await ask(request["method"], request["path"], body, content_type=media)
            assert "see the server's log" not in str(answer.body), (request["method"], request["path"], body)
