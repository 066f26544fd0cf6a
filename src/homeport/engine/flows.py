"""The flows of a cluster's network, for whoever stands outside: `python -m homeport.engine.flows --data DIRECTORY`.

A process of its own, as only one with a single thread may enter the namespaces. Prints a JSON list.
"""

import argparse
import asyncio
import json
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from homeport.engine.directory import DataDirectory
from homeport.node.namespaces import enter, find_holder
from homeport.proxy.flows import Connection, connections
from homeport.proxy.model import Target

__all__ = ["FlowsError", "cluster_flows"]


class FlowsError(Exception):
    """The flows could not be listed; the text says why."""


async def cluster_flows(directory: DataDirectory) -> list[Connection]:
    """Return the flows the kernel remembers for the cluster's network. Raises FlowsError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "homeport.engine.flows", "--data", str(directory.path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    if process.returncode:
        raise FlowsError(errors.decode(errors="replace").strip() or f"ended with {process.returncode}")
    return [_read(*words) for words in json.loads(out)]


def _row(one: Connection) -> tuple[Any, ...]:
    asked, answers = one.asked, one.answers
    ends = (str(asked.address), asked.port, str(answers.address), answers.port)
    return (one.protocol, *ends, one.live, str(one.client))


def _read(
    protocol: str, asked: str, asked_port: int, answers: str, answers_port: int, live: bool, client: str
) -> Connection:
    front, back = Target(ip_address(asked), asked_port), Target(ip_address(answers), answers_port)
    return Connection(protocol, front, back, live, ip_address(client))


def main() -> None:
    """Print the flows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    holder = find_holder(DataDirectory(parser.parse_args().data).run)
    if holder is None:
        raise SystemExit("no cluster runs there")
    try:
        enter(holder, mount=False)
        found = connections()
    except OSError as error:
        raise SystemExit(str(error)) from error
    print(json.dumps([_row(one) for one in found]))


if __name__ == "__main__":
    main()
