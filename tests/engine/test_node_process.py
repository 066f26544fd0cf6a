"""Which processes a signal can reach at all."""

import signal
from pathlib import Path

import pytest

from homeport.engine.node_process import hears

TERM, USR1 = signal.SIGTERM, signal.SIGUSR1


@pytest.mark.parametrize(
    ("text", "number", "expected"),
    [
        ("SigBlk:\t0000000000000000\nSigCgt:\t0000000000004000\n", TERM, True),  # a handler
        ("SigBlk:\t0000000000004000\nSigCgt:\t0000000000000000\n", TERM, True),  # awaited with signalfd or sigwait
        ("SigBlk:\t0000000000000000\nSigCgt:\t0000000000000002\n", TERM, False),  # another's handler
        ("SigBlk:\t0000000000000000\nSigIgn:\t0000000000004000\nSigCgt:\t0000000000000000\n", TERM, False),
        ("SigBlk:\t0000000000000000\nSigCgt:\t0000000000004000\n", USR1, False),
    ],
)
def test_a_signal_is_heard_when_caught_or_awaited(
    tmp_path: Path, text: str, number: signal.Signals, expected: bool
) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tserver\nShdPnd:\t0000000000004000\n{text}")
    assert hears(status, number) is expected


def test_one_that_has_ended_hears_nothing(tmp_path: Path) -> None:
    assert not hears(tmp_path / "gone", TERM)


def test_a_process_of_ours() -> None:
    before = signal.signal(USR1, lambda *_: None)
    try:
        assert hears(Path("/proc/self/status"), USR1)
        signal.signal(USR1, signal.SIG_DFL)
        assert not hears(Path("/proc/self/status"), USR1)
    finally:
        signal.signal(USR1, before)
