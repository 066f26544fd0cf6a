"""The recorded requests are answered as a real server answered them; scores never fall below the committed ones."""

import pytest

from homeport.testing.loop import run_virtual
from tests.vectors.load import topics
from tests.vectors.replay_api import NOT_YET_TOPICS, replay
from tests.vectors.scores import committed


@pytest.mark.parametrize("topic", [topic for topic in topics("api") if topic not in NOT_YET_TOPICS])
def test_recordings_of_a_topic_are_followed(topic: str) -> None:
    score = run_virtual(lambda: replay([topic]))[topic]
    failed = [name for name, _ in score.failed]
    assert score.scenarios_passed >= committed("api", topic), failed
