"""The process that is killed: writes under load and reports what was acknowledged."""

import asyncio
import os
from pathlib import Path

from homeport.store.contract import Delete, Put, Revision
from homeport.store.sqlite import SqliteStore
from homeport.store.state import History

HISTORY = History(revisions=4000, seconds=0.0, max_revisions=8000)


def write_until_killed(path: str, report: int, round_number: int) -> None:
    """Report `revision key value` per acknowledged write (`-` for a deletion) to a descriptor, for ever."""
    asyncio.run(_write(Path(path), report, round_number))


async def _write(path: Path, report: int, round_number: int) -> None:
    store = await SqliteStore.open(path, HISTORY)

    async def writer(number: int) -> None:
        key = f"/w{number}"
        entry = await store.get(key)
        revision = entry.revision if entry else Revision(0)
        for count in range(10**9):
            value = f"{round_number}.{number}.{count}"
            if number % 4 == 3:
                passing = f"{key}/{round_number}.{count}"
                done = await store.transact([Put(passing, value.encode(), Revision(0))])
                os.write(report, f"{done[0]} {passing} {value}\n".encode())
                done = await store.transact([Delete(passing, done[0])])
                os.write(report, f"{done[0]} {passing} -\n".encode())
            elif count % 7 == 6:
                deleted = await store.delete(key, expect=revision)
                os.write(report, f"{deleted} {key} -\n".encode())
                revision = Revision(0)
            else:
                revision = (await store.put(key, value.encode(), expect=revision)).revision
                os.write(report, f"{revision} {key} {value}\n".encode())

    await asyncio.gather(*(writer(number) for number in range(8)))
