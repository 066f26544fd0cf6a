"""From a container's request to a running process: files, root directory, cgroup, then the runtime, by the keeper.

Everything made here is in the container's bundle, in memory, but for its own layer and the records; a start that fails,
or is cut short by the end of the engine, is undone by `discard`.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from homeport.node.holder_client import HolderClient
from homeport.node.images.host import is_host
from homeport.node.images.store import BadImage
from homeport.node.launching import Launch, LaunchFailed
from homeport.node.runtime.cgroups import Cgroups
from homeport.node.runtime.contract import ContainerSpec, RuntimeFailure
from homeport.node.runtime.detect import Tool
from homeport.node.runtime.rootfs import FRESH_ON_HOST, RootFilesystems
from homeport.node.runtime.seccomp import LOCALHOST, local_profile
from homeport.node.runtime.spec import Place, build
from homeport.node.runtime.state import Directories, SandboxRecord
from homeport.node.runtime.users import IdMap, User, accounts_beneath, resolve
from homeport.node.sealing import SealedPrograms

__all__ = ["Launcher", "container_name", "last_message", "start_failure"]

ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
STREAMS: Final = ("stdin", "stdout", "stderr")


def container_name(container_id: str) -> str:
    """The name by which the namespace keeper knows a container's main process."""
    return f"container/{container_id}"


@dataclass(frozen=True, slots=True)
class Launcher:
    """What every start on this node has in common.

    places    where everything is
    hidden    host paths no container may see
    profiles  where `Localhost` seccomp profiles are
    programs  sealed copies of the runtime, for what this process starts itself
    """

    tool: Tool
    roots: RootFilesystems
    cgroups: Cgroups
    cgroup: str
    ids: IdMap
    places: Directories
    rootless: bool
    hidden: tuple[str, ...]
    profiles: Path
    programs: SealedPrograms

    @property
    def makes_cgroups(self) -> bool:
        """Whether the runtime makes the groups; otherwise they are made here and the runtime is started in them."""
        return self.tool.wants_cgroup and not self.rootless

    @property
    def state(self) -> Path:
        """Where the runtime keeps what it must know itself."""
        return self.places.live / "oci"

    def prepare(self, spec: ContainerSpec, sandbox: SandboxRecord) -> None:
        """Mount the root, write `config.json`, make the FIFOs. Raises RuntimeFailure."""
        directory = self.places.bundle(spec.id)
        try:
            targets = [mount.target for mount in spec.mounts]
            root = self.roots.mount(directory, self.places.layer(spec.id), spec.image.id, targets)
        except (OSError, BadImage) as error:
            raise RuntimeFailure("CreateContainerError", f"root file system: {error}") from error
        top = os.open(root, os.O_PATH | os.O_DIRECTORY)
        try:
            user = resolve(spec.security, spec.image.user, accounts_beneath(top))
        finally:
            os.close(top)
        alias = self.tool.takes_rootless_aliases and self.ids.needs_alias(user)
        user = User(user.uid, user.gid) if alias else self.ids.require(user)
        place = Place(
            alias=alias,
            profile=self._profile(spec.security.seccomp),
            rootfs=root,
            sandbox_pid=sandbox.process.pid,
            shared_memory=self.places.shared_memory(sandbox.id),
            share_pids=sandbox.share_pids,
            rootless=self.rootless,
            hidden=self.hidden,
            fresh=FRESH_ON_HOST if is_host(spec.image.id) else (),
            separate=tuple(self.roots.separate_folders(spec.image.id)),
            cgroup=f"/{self.cgroup}/{spec.id}" if self.makes_cgroups else "",
        )
        config = build(spec, user, sandbox.hostname, place)
        (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if not spec.tty:
            for name in STREAMS if spec.stdin else STREAMS[1:]:
                os.mkfifo(directory / name, 0o600)

    def _profile(self, seccomp: str) -> Mapping[str, Any] | None:
        return local_profile(self.profiles, seccomp.removeprefix(LOCALHOST)) if seccomp.startswith(LOCALHOST) else None

    async def start(self, spec: ContainerSpec, holder: HolderClient) -> int:
        """Start what `prepare` laid out; return the main process's pid. Raises RuntimeFailure."""
        directory = self.places.bundle(spec.id)
        log = directory / "log"
        words = ["run", "--detach", "--bundle", str(directory), "--pid-file", str(directory / "pid")]
        console = str(directory / "console.sock") if spec.tty else ""
        if console:
            words += ["--console-socket", console]
        launch = Launch(
            name=container_name(spec.id),
            argv=self.tool.command(self.state, log, *words, spec.id),
            env=ENVIRONMENT,
            stdio=[str(directory / name) if (directory / name).exists() else None for name in STREAMS],
            exit=str(self.places.exit_file(spec.id)),
            pid_file=str(directory / "pid"),
            console=console,
            cgroups=[] if self.makes_cgroups else self.cgroups.create(spec.id, spec.limits),
            bounded=bool(spec.limits.memory_bytes),
            sealed=True,
        )
        try:
            return await holder.launch(launch)
        except LaunchFailed as error:
            raise start_failure(last_message(log) or str(error)) from error

    def exec_terminal(self, name: str, container_id: str, stem: Path) -> Launch:
        """Return the launch of the process in `<stem>.json` on a terminal: detached, the keeper its parent."""
        words = [
            "--detach",
            "--process",
            f"{stem}.json",
            "--pid-file",
            f"{stem}.pid",
            "--console-socket",
            f"{stem}.sock",
        ]
        return Launch(
            name=name,
            argv=self.tool.command(self.state, Path(f"{stem}.log"), "exec", *words, container_id),
            env=ENVIRONMENT,
            pid_file=f"{stem}.pid",
            console=f"{stem}.sock",
            cgroups=self._groups(container_id),
            bounded=True,  # by then nobody here knows the limits
            sealed=True,
        )

    def _groups(self, container_id: str) -> list[str]:
        if self.makes_cgroups:
            return []
        groups = [str(base / container_id / "cgroup.procs") for base in self.cgroups.hierarchies.values()]
        return [group for group in groups if os.path.exists(group)]

    def exec_command(self, container_id: str, *words: str) -> tuple[list[str], Sequence[int]]:
        """Return the argv that runs the runtime's `exec` in the container's cgroup, and the descriptors it needs."""
        command = self.tool.command(self.state, None, "exec", *words)
        sealed = self.programs.find(self.tool.path)
        passed = [] if sealed is None else [sealed]
        if sealed is not None:
            command[0] = f"/proc/self/fd/{sealed}"
        groups = self._groups(container_id)
        if not groups:
            return command, passed
        enter = 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"'
        return ["/bin/sh", "-c", enter, "enter", *groups, "--", *command], passed

    def discard(self, container_id: str) -> None:
        """Undo everything: mounts, the runtime's own record, the cgroup, all files. Absent is fine."""
        bundle = self.places.bundle(container_id)
        self.roots.unmount(bundle, self.places.layer(container_id))
        self.cgroups.remove(container_id)
        self.places.exit_file(container_id).unlink(missing_ok=True)
        for directory in (self.state / container_id, bundle):
            if directory.exists():
                shutil.rmtree(directory)


def start_failure(message: str) -> RuntimeFailure:
    """Turn a runtime's complaint into upstream's words (node 1.4): what cannot be executed, and everything else."""
    quoted = message.partition("executable file `")[2].partition("`")[0]
    if quoted:
        return RuntimeFailure("RunContainerError", f'exec: "{quoted}": executable file not found in $PATH')
    message = message.rpartition("unable to start container process: ")[2]
    starting = ("exec: ", "open executable", "exec format error", "chdir", "permission denied: OCI")
    if any(word in message for word in starting):
        return RuntimeFailure("RunContainerError", message)
    return RuntimeFailure("CreateContainerError", message)


def last_message(log: Path) -> str:
    """Return the last error the runtime logged; empty when there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    found = ""
    for line in lines:
        try:
            tree: Any = json.loads(line)
        except ValueError:
            found = line
            continue
        if tree.get("level") in ("error", "fatal"):
            found = str(tree.get("msg", ""))
    return found
