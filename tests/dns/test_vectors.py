"""The recorded questions keep being answered as they were."""

import asyncio

import pytest

from tests.vectors.load import topics
from tests.vectors.replay_dns import replay
from tests.vectors.scores import committed


@pytest.mark.parametrize("topic", topics("dns"))
def test_no_topic_falls_below_its_score(topic: str) -> None:
    equal, count = asyncio.run(replay(topic))
    assert equal >= committed("dns", topic), f"{topic}: {equal} of {count} equal"
