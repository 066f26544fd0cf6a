"""Which container runtime works here: asked by starting something, not by reading versions.

crun first (a third of runc's time), then runc. Debian's crun 1.8 refuses a host with hybrid cgroups as long as it can
see the version 2 mount, so that one is hidden in our private mount namespace; limits are ours to set (`cgroups`).
"""

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from homeport.node import syscalls
from homeport.node.images.host import HOST_REFERENCE
from homeport.node.runtime.contract import RuntimeFailure
from homeport.node.runtime.rootfs import RootFilesystems
from homeport.node.runtime.versions import outdated

__all__ = ["TOOLS", "Tool", "choose_tool", "hide_unified_cgroup"]

TOOLS: Final = ("crun", "runc")
"""Runtimes in the order they are tried."""

_SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_log = logging.getLogger(__name__)
_HYBRID: Final = Path("/sys/fs/cgroup/unified")


@dataclass(frozen=True, slots=True)
class Tool:
    """A runtime binary that passed its trial."""

    name: str
    path: str
    version: str

    @property
    def wants_cgroup(self) -> bool:
        """runc makes a cgroup of its own unless it is told ours; crun can be kept from it."""
        return self.name != "crun"

    @property
    def takes_rootless_aliases(self) -> bool:
        """Whether it runs a container whose user namespace has no root: runc wants id 0 to be mapped."""
        return self.name == "crun"

    def command(self, state: Path, log: Path | None, *words: str) -> list[str]:
        """Return the argv for one call; errors go to `log` when given, else to stderr."""
        options = ["--root", str(state)]
        if not self.wants_cgroup:
            options.append("--cgroup-manager=disabled")
        if log is not None:
            options += ["--log", str(log), "--log-format", "json"]
        return [self.path, *options, *words]


async def choose_tool(run: Path, roots: RootFilesystems, tools: Sequence[str] = TOOLS) -> Tool:
    """Return the first of `tools` that can start `/bin/true` from the host image. Raises RuntimeFailure.

    The verdict is kept for this boot and these binaries in `<run>/runtime.json`.
    """
    hide_unified_cgroup()
    found = [(name, path) for name in tools if (path := shutil.which(name, path=_SEARCH))]
    if not found:
        raise RuntimeFailure("RuntimeNotFound", f"none of {', '.join(tools)} is installed")
    key = [syscalls.boot_id(), *((path, os.stat(path).st_mtime) for _, path in found)]
    verdict = run / "runtime.json"
    try:
        known = json.loads(verdict.read_text(encoding="utf-8"))
        if known["key"] == json.loads(json.dumps(key)):
            return Tool(known["name"], known["path"], known["version"])
    except FileNotFoundError:
        pass
    reasons = []
    for name, path in found:
        tool = Tool(name, path, await _version(path))
        trouble = await _trial(run, roots, tool)
        if not trouble:
            content = {"key": key, "name": tool.name, "path": tool.path, "version": tool.version}
            verdict.write_text(json.dumps(content), encoding="utf-8")
            if remark := outdated(tool.name, tool.version):
                _log.warning("%s", remark)
            return tool
        reasons.append(f"{name} {tool.version}: {trouble}")
    raise RuntimeFailure("RuntimeNotFound", f"no container runtime works here: {'; '.join(reasons)}")


def hide_unified_cgroup() -> None:
    """Cover a hybrid host's version 2 mount in this mount namespace."""
    if _HYBRID.is_dir() and (_HYBRID / "cgroup.procs").exists():
        syscalls.mount("tmpfs", str(_HYBRID), "tmpfs", syscalls.MS_RDONLY, "size=0")


async def _version(path: str) -> str:
    process = await asyncio.create_subprocess_exec(path, "--version", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    words = output.decode("utf-8", "replace").split()
    return words[2] if len(words) > 2 else "unknown"


async def _trial(run: Path, roots: RootFilesystems, tool: Tool) -> str:
    """Run `/bin/true` once; return what went wrong, empty when nothing did."""
    bundle = run / f"trial-{tool.name}"
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir(mode=0o700)
    try:
        try:
            root = roots.mount(bundle, bundle / "own", f"{HOST_REFERENCE}@trial")
        except OSError as error:
            return f"the root file system cannot be mounted: {error}"
        (bundle / "config.json").write_text(json.dumps(_trial_config(root)), encoding="utf-8")
        command = tool.command(bundle / "state", None, "run", "--bundle", str(bundle), f"trial-{os.getpid()}")
        return await _run(command)
    finally:
        roots.unmount(bundle, bundle / "own")
        shutil.rmtree(bundle)


async def _run(command: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return "" if process.returncode == 0 else output.decode("utf-8", "replace").strip() or f"exit {process.returncode}"


def _trial_config(root: Path) -> dict[str, object]:
    user = {"uid": 0, "gid": 0}
    return {
        "ociVersion": "1.0.2",
        "process": {"args": ["/bin/true"], "cwd": "/", "user": user, "env": [f"PATH={_SEARCH}"]},
        "root": {"path": str(root)},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }
