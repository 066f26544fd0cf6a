"""Starting and stopping a cluster's engine from another process, such as the command line."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

import homeport
from homeport.engine.directory import DataDirectory, ProcessRecord
from homeport.engine.processes import end_process
from homeport.engine.settings import ClusterSettings
from homeport.node.holder_client import HolderClient, HolderGone, ensure_holder
from homeport.node.namespaces import find_holder, wait_for_end
from homeport.node.runtime.cgroups import clear_cgroups
from homeport.node.runtime.state import Records, living_containers, living_sandboxes

__all__ = ["LaunchError", "processes", "start", "stop"]

STOP_SECONDS: Final = 60.0
PROCESSES: Final = ("control", "node", "dns", "expose")


class LaunchError(Exception):
    """The engine could not be started or stopped; the text says why."""


def processes(directory: DataDirectory) -> list[ProcessRecord]:
    """Return the living processes of the engine; pods are not among them."""
    found = [record for name in PROCESSES if (record := directory.process(name)) is not None]
    holder = find_holder(directory.run)
    if holder is not None:
        found.append(ProcessRecord("holder", holder.pid, holder.start, {}))
    return found


def start(directory: DataDirectory, settings: ClusterSettings) -> float | None:
    """Start the engine and return once its API is ready, with the seconds that took; None when it ran already.

    Whoever else starts or stops it at the same time is waited for. Raises LaunchError, DirectoryError, SettingsError.
    """
    began = time.monotonic()
    directory.create()
    with directory.change() as lock:
        if directory.process("control") is None:
            directory.save(settings, homeport.__version__)
            _start_control(directory, lock)
            return time.monotonic() - began
        running = directory.load()
        if running is not None and running != settings:
            other = ", ".join(running.differences(settings))
            raise LaunchError(
                f"the cluster runs with other settings ({other}); run `homeport down` first, then `up` with the new"
            )
        return None


def _start_control(directory: DataDirectory, lock: int) -> None:
    """Start the control process, which keeps `lock` until it is ready. Raises LaunchError."""
    reader, writer = os.pipe()
    log = directory.logs / "control.log"
    words = ["--data", str(directory.path), "--ready", str(writer), "--lock", str(lock)]
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "homeport.engine.control", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[writer, lock],
            start_new_session=True,
            cwd="/",
        )
    os.close(writer)
    with open(reader, encoding="utf-8") as ready:
        said = ready.readline()
    if not said:
        process.wait()
        raise LaunchError(f"the engine ended while starting; see {log}\n{_tail(log.read_text('utf-8', 'replace'))}")
    answer = json.loads(said)
    if "error" in answer:
        process.wait()
        raise LaunchError(answer["error"])


def _tail(text: str, lines: int = 5) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])


def stop(directory: DataDirectory) -> bool:
    """Stop the engine and every pod; return whether anything ran. Raises LaunchError."""
    if not directory.run.is_dir():
        return False
    with directory.change():
        control = directory.process("control")
        if control is not None:
            os.kill(control.pid, signal.SIGTERM)
            if not wait_for_end(control.pid, STOP_SECONDS):
                end_process(control, 0)
        left = [record for record in processes(directory) if record.name != "holder"]
        for record in left:
            end_process(record, farewell=signal.SIGUSR1 if record.name == "node" else signal.SIGTERM)
        stopped_pods = stop_holder(directory)
        clear_cgroups(directory.run, {one.id for one in Records(directory.run).containers()})
        return control is not None or bool(left) or stopped_pods


def stop_holder(directory: DataDirectory) -> bool:
    """End the namespace keeper with everything in its care: pods, namespaces, mounts. Returns whether there was any.

    When the keeper was killed and pods outlived it, one is started in their namespaces just to end them.
    """
    holder = find_holder(directory.run)
    if holder is None and not living_sandboxes(directory.run) and not living_containers(directory.run):
        return False
    try:
        asyncio.run(_stop_holder(directory))
    except (OSError, HolderGone) as error:
        raise LaunchError(
            f"the namespace keeper cannot be stopped: {error}; see {directory.logs}/holder.log"
        ) from error
    return True


async def _stop_holder(directory: DataDirectory) -> None:
    sandboxes = living_sandboxes(directory.run)
    alive = [*living_containers(directory.run), *sandboxes]
    holder = await ensure_holder(directory.run, directory.logs / "holder.log", join=sandboxes)
    client = HolderClient(lambda _: None, lambda: None)
    client.connect(directory.run)
    try:
        await client.stop()
    finally:
        client.close()
    await asyncio.to_thread(wait_for_end, holder.pid)
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(wait_for_end, pid)
