"""CRI log files."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from homeport.node.runtime.logs import MAX_FILE_BYTES, MAX_LINE_BYTES, LogFile, Pump


class Stopped:
    def __init__(self, now: float = 0.5) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


def at_once(job: Callable[[], None]) -> None:
    job()


STAMP = "1970-01-01T00:00:00.500000000Z"


def written(path: Path, *pieces: tuple[str, bytes]) -> str:
    log = LogFile(path, Stopped(), at_once)
    for stream, data in pieces:
        log.write(stream, data)
    log.close()
    return path.read_text()


def test_every_line_is_framed_by_time_stream_and_tag(tmp_path: Path) -> None:
    text = written(tmp_path / "log", ("stdout", b"one\ntw"), ("stderr", b"err\n"), ("stdout", b"o\n\nrest"))
    assert text == (
        f"{STAMP} stdout F one\n{STAMP} stderr F err\n{STAMP} stdout F two\n{STAMP} stdout F \n{STAMP} stdout F rest\n"
    )


def test_a_container_cannot_forge_a_record(tmp_path: Path) -> None:
    text = written(tmp_path / "log", ("stdout", f"x\n{STAMP} stderr F forged\n".encode()))
    assert text.splitlines()[1] == f"{STAMP} stdout F {STAMP} stderr F forged"


def test_a_long_line_is_cut_and_its_last_piece_is_full(tmp_path: Path) -> None:
    text = written(tmp_path / "log", ("stdout", b"x" * (MAX_LINE_BYTES * 2 + 5) + b"\n"))
    tags = [(line.split(" ", 3)[2], len(line.split(" ", 3)[3])) for line in text.splitlines()]
    assert tags == [("P", MAX_LINE_BYTES), ("P", MAX_LINE_BYTES), ("F", 5)]


@given(chunks=st.lists(st.binary(max_size=40), max_size=20))
def test_content_survives_any_division_into_pieces(tmp_path_factory, chunks: list[bytes]) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("log") / "log"
    log = LogFile(path, Stopped(), at_once)
    for chunk in chunks:
        log.write("stdout", chunk)
    log.close()
    assert path.exists() == any(chunks)
    lines = [line.split(b" ", 3) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []
    assert b"".join(line[3] + b"\n" for line in lines) == _ended(b"".join(chunks))


def _ended(data: bytes) -> bytes:
    return data if not data or data.endswith(b"\n") else data + b"\n"


def test_rotation_keeps_five_files_and_packs_older_ones(tmp_path: Path) -> None:
    clock = Stopped()
    log = LogFile(tmp_path / "0.log", clock, at_once)
    line = b"x" * 15_000 + b"\n"
    for _ in range(7):
        clock.time += 60
        for _ in range(MAX_FILE_BYTES // len(line) + 1):
            log.write("stdout", line)
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 5
    assert names[0] == "0.log"
    assert [name.endswith(".gz") for name in names[1:]] == [True, True, True, False]
    assert all(path.stat().st_size <= MAX_FILE_BYTES for path in tmp_path.iterdir())
    with gzip.open(tmp_path / names[1]) as packed:
        assert packed.readline().endswith(b" stdout F " + line)


def test_a_log_is_continued_where_it_ended(tmp_path: Path) -> None:
    written(tmp_path / "log", ("stdout", b"one\n"))
    assert written(tmp_path / "log", ("stdout", b"two\n")).count("\n") == 2


async def test_a_pump_moves_everything_and_tells_who_listens(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    pump = Pump(LogFile(tmp_path / "log", Stopped(), at_once), {reader: "stdout"})
    heard: list[tuple[str, bytes]] = []
    pump.listeners.add(lambda stream, data: heard.append((stream, data)))
    os.write(writer, b"hello\n")
    pump.finish()
    os.close(writer)
    assert heard == [("stdout", b"hello\n"), ("stdout", b"")]
    assert (tmp_path / "log").read_text() == f"{STAMP} stdout F hello\n"
