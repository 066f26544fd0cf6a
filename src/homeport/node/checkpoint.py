"""What of each pod outlives the node process and the runtime: a checkpoint per pod, all in one file.

The runtime knows which instances exist and how they ended; a checkpoint keeps what it cannot know: earlier
terminations, restart counts of instances long removed, and whether a container had passed its probes. Source: `node`
15.4.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from homeport.node.journal import Journal
from homeport.node.lifecycle import ContainerState, Ended, Running

__all__ = ["Checkpoints", "Saved"]

Saved = Mapping[str, ContainerState]


class Checkpoints:
    """The checkpoints of a node's pods, by uid, in the file `path`."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)

    def save(self, uid: str, states: Saved) -> None:
        """Keep how a pod's containers are. Raises OSError."""
        tree = _tree(states)
        if tree or self._journal.get(uid) is not None:
            self._journal.put(uid, tree)

    def load(self, uid: str) -> dict[str, ContainerState]:
        """Return the states saved last; none when there are none."""
        return {name: _state(entry) for name, entry in (self._journal.get(uid) or {}).items()}

    def forget(self, uid: str) -> None:
        """Drop a pod that is gone. Absent is fine. Raises OSError."""
        self._journal.drop(uid)

    def keep_only(self, uids: Collection[str]) -> None:
        """Drop all pods but these. Raises OSError."""
        for uid in self._journal:
            if uid not in uids:
                self._journal.drop(uid)


def _tree(states: Saved) -> dict[str, Any]:
    return {
        name: {
            "running": _plain(state.running) | {"failed_probe": None} if state.running else None,
            "ended": _plain(state.ended) if state.ended else None,
            "previous": _plain(state.previous) if state.previous else None,
            "restart_count": state.restart_count,
            "image": state.image,
            "image_id": state.image_id,
        }
        for name, state in sorted(states.items())
        if state.ever_created or state.previous
    }


def _plain(value: Running | Ended) -> dict[str, Any]:
    """Return the fields of a value that holds nothing but plain ones."""
    return value._asdict()


def _state(tree: Mapping[str, Any]) -> ContainerState:
    running, ended, previous = tree["running"], tree["ended"], tree["previous"]
    return ContainerState(
        running=Running(**running) if running else None,
        ended=Ended(**ended) if ended else None,
        previous=Ended(**previous) if previous else None,
        restart_count=tree["restart_count"],
        image=tree["image"],
        image_id=tree["image_id"],
    )
