"""The committed scores: how many recordings of each topic are followed. Raise them, never lower them."""

import json
from pathlib import Path

SCORES = Path(__file__).with_name("scores.json")


def committed(area: str, topic: str) -> int:
    """Return the score a topic must not fall below; 0 for one never scored."""
    scores: dict[str, dict[str, int]] = json.loads(SCORES.read_text())
    return scores.get(area, {}).get(topic, 0)
