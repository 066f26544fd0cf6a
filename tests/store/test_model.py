"""Any history of operations leaves every store where a toy model says it should be."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from homeport.store.contract import Compacted, Delete, Mismatch, Operation, Put, Revision
from homeport.store.log import LogStore
from homeport.store.memory import MemoryStore
from homeport.store.sqlite import SqliteStore

R = Revision
KEYS = st.sampled_from(["/a", "/b", "/b/c", "/c"])
FRESH = st.sampled_from([True, True, True, False])


class Model:
    """All of history as a list of complete states."""

    def __init__(self) -> None:
        self.states: list[dict[str, tuple[bytes, int, int]]] = [{}]
        self.oldest = 0

    @property
    def now(self) -> dict[str, tuple[bytes, int, int]]:
        return self.states[-1]

    def revision_of(self, key: str) -> int:
        return self.now[key][1] if key in self.now else 0

    def put(self, key: str, value: bytes) -> None:
        revision = len(self.states)
        created = self.now[key][2] if key in self.now else revision
        self.states.append({**self.now, key: (value, revision, created)})

    def delete(self, key: str) -> None:
        self.states.append({name: entry for name, entry in self.now.items() if name != key})


class Machine(RuleBasedStateMachine):
    """Drives the memory side and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.directory = tempfile.TemporaryDirectory()
        self.store = self.runner.run(self.open())

    async def open(self) -> LogStore:
        return MemoryStore()

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.directory.cleanup()

    @rule(key=KEYS, value=st.binary(max_size=3), fresh=FRESH)
    def put(self, key: str, value: bytes, fresh: bool) -> None:
        expect = self.model.revision_of(key) + (0 if fresh else 1)
        try:
            entry = self.runner.run(self.store.put(key, value, expect=R(expect)))
        except Mismatch:
            assert not fresh
            return
        assert fresh
        self.model.put(key, value)
        assert (entry.value, entry.revision, entry.created) == self.model.now[key]

    @rule(key=KEYS, fresh=FRESH)
    def delete(self, key: str, fresh: bool) -> None:
        expect = self.model.revision_of(key) + (0 if fresh else 1)
        try:
            revision = self.runner.run(self.store.delete(key, expect=R(expect)))
        except Mismatch:
            assert not fresh or key not in self.model.now
            return
        self.model.delete(key)
        assert revision == len(self.model.states) - 1

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), removing=st.booleans(), broken=st.booleans())
    def transact(self, keys: list[str], removing: bool, broken: bool) -> None:
        """Put all keys, delete the last one if told, and fail at the end if told."""
        trial = Model()
        trial.states = list(self.model.states)
        operations: list[Operation] = []
        for key in keys:
            operations.append(Put(key, b"t", R(trial.revision_of(key))))
            trial.put(key, b"t")
        if removing:
            operations.append(Delete(keys[-1], R(trial.revision_of(keys[-1]))))
            trial.delete(keys[-1])
        if broken:
            operations.append(Put(keys[0], b"", R(10**6)))
            with pytest.raises(Mismatch):
                self.runner.run(self.store.transact(operations))
            return
        self.runner.run(self.store.transact(operations))
        self.model.states = trial.states

    @rule(keys=st.lists(KEYS, min_size=2, max_size=6))
    def write_together(self, keys: list[str]) -> None:
        """Writers of one loop turn, those to one key building on each other."""

        async def together() -> None:
            writes: list[Any] = []
            for key in keys:
                writes.append(self.store.put(key, b"w", expect=R(self.model.revision_of(key))))
                self.model.put(key, b"w")
            await asyncio.gather(*writes)

        self.runner.run(together())

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        before = max(0, self.store.revision - back)
        self.runner.run(self.store.compact(R(before)))
        self.model.oldest = max(self.model.oldest, before)

    @rule(prefix=st.sampled_from(["", "/", "/b", "/b/", "/x"]), limit=st.integers(0, 3), back=st.integers(0, 8))
    def list(self, prefix: str, limit: int, back: int) -> None:
        at = max(0, self.store.revision - back)
        if at < self.model.oldest:
            with pytest.raises(Compacted):
                self.runner.run(self.store.list(prefix, at=R(at)))
            return
        expected = sorted((k, *v) for k, v in self.model.states[at].items() if k.startswith(prefix))
        listing = self.runner.run(self.store.list(prefix, limit=limit, at=R(at)))
        found = [(e.key, e.value, e.revision, e.created) for e in listing.entries]
        assert found == (expected[:limit] if limit else expected)
        assert (listing.more, listing.remaining) == (len(found) < len(expected), len(expected) - len(found))

    @rule(back=st.integers(0, 8))
    def watch(self, back: int) -> None:
        after = max(0, self.store.revision - back)

        async def replay() -> list[Any]:
            async with self.store.watch("", after=R(after)) as batches:
                return list(await anext(batches)) if after < self.store.revision else []

        if after + 1 < self.model.oldest:
            with pytest.raises(Compacted):
                self.runner.run(replay())
            return
        events = self.runner.run(replay())
        assert [event.revision for event in events] == list(range(after + 1, len(self.model.states)))
        for event in events:
            before, now = self.model.states[event.revision - 1], self.model.states[event.revision]
            assert (event.previous.value if event.previous else None) == before.get(event.key, (None,))[0]
            assert (event.entry.value if event.entry else None) == now.get(event.key, (None,))[0]

    @invariant()
    def the_present_agrees(self) -> None:
        assert (self.store.revision, self.store.oldest) == (len(self.model.states) - 1, self.model.oldest)
        for key in ("/a", "/b", "/b/c", "/c"):
            entry = self.runner.run(self.store.get(key))
            assert (entry and (entry.value, entry.revision, entry.created)) == self.model.now.get(key)


class SqliteMachine(Machine):
    """The same with a file that is closed and opened again."""

    async def open(self) -> LogStore:
        return await SqliteStore.open(Path(self.directory.name) / "state.db")

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.store.close())
        self.store = self.runner.run(self.open())


TestMemory = Machine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
