"""The OCI `config.json` of one container: a function from what is asked and what this machine can do.

Source: OCI runtime specification 1.0; node 10 and 17.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from homeport.node.runtime.contract import ContainerSpec, Limits, Mount, RuntimeFailure, Security
from homeport.node.runtime.seccomp import default_profile
from homeport.node.runtime.users import User

__all__ = ["ALL_CAPABILITIES", "DEFAULT_CAPABILITIES", "Place", "build", "capabilities", "environment", "process"]

DEFAULT_CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip

ALL_CAPABILITIES: Final = (
    *DEFAULT_CAPABILITIES,
    "DAC_READ_SEARCH", "LINUX_IMMUTABLE", "NET_BROADCAST", "NET_ADMIN", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
    "SYS_RAWIO", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "LEASE", "AUDIT_CONTROL", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
    "AUDIT_READ",
)  # fmt: skip

MASKED_PATHS: Final = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip

READ_ONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and on what kind of machine the container runs.

    rootfs        the mounted root directory
    sandbox_pid   whose network, IPC and UTS namespaces it joins
    shared_memory the pod's `/dev/shm`
    share_pids    join the sandbox's pid namespace too
    rootless      inside our own user namespace: no devices, no `gid=5`, no lowering of OOM scores
    hidden        paths of the host that no container may see (the engine's data)
    fresh         directories that must not be the image's (host image: `/tmp`, `/run`)
    separate      top-level directories that are mounts of their own: a read-only root must name them
    profile       the seccomp profile of this node that the container names, loaded; else None
    alias         only one id exists here: the container's user is another name for it, in its own user namespace
    cgroup        group to make, with its limits, for a runtime that insists on doing that itself; else empty
    """

    rootfs: Path
    sandbox_pid: int
    shared_memory: Path
    share_pids: bool = False
    rootless: bool = False
    hidden: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    separate: tuple[str, ...] = ()
    profile: Mapping[str, Any] | None = None
    alias: bool = False
    cgroup: str = ""


def build(spec: ContainerSpec, user: User, hostname: str, place: Place) -> dict[str, Any]:
    """Return the `config.json` tree. Raises RuntimeFailure for a request no container can have."""
    security = spec.security
    privileged = security.privileged
    linux: dict[str, Any] = {
        "namespaces": _namespaces(place),
        "maskedPaths": [*place.hidden, *(() if _unmasked(security) else MASKED_PATHS)],
        "readonlyPaths": [
            *(place.separate if security.read_only_root else ()),
            *(() if _unmasked(security) else READ_ONLY_PATHS),
        ],
    }
    if place.alias:
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": user.uid, "hostID": 0, "size": 1}]
        linux["gidMappings"] = [{"containerID": user.gid, "hostID": 0, "size": 1}]
    if place.cgroup:
        linux["cgroupsPath"] = place.cgroup
        linux["resources"] = _resources(spec.limits)
    if place.profile is not None:
        linux["seccomp"] = dict(place.profile)
    elif security.seccomp == "RuntimeDefault" and not privileged:
        linux["seccomp"] = default_profile(capabilities(security))
    return {
        "ociVersion": "1.0.2",
        "process": process(spec, user, hostname, rootless=place.rootless),
        "root": {"path": str(place.rootfs), "readonly": security.read_only_root},
        "mounts": [*_base_mounts(place, privileged=privileged), *_volumes(spec.mounts)],
        "linux": linux,
    }


def process(spec: ContainerSpec, user: User, hostname: str, *, rootless: bool) -> dict[str, Any]:
    """Return the `process` tree, which `exec` takes over with other arguments."""
    directory = spec.working_directory or spec.image.working_directory or "/"
    if not directory.startswith("/") or directory.startswith("/proc/"):
        raise RuntimeFailure("CreateContainerError", f"working directory {directory!r} is not allowed")
    if not spec.argv:
        raise RuntimeFailure("CreateContainerError", "no command specified")
    held = [f"CAP_{name}" for name in capabilities(spec.security)]
    tree: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups), "umask": 0o022},
        "args": list(spec.argv),
        "env": [f"{name}={value}" for name, value in environment(spec, hostname).items()],
        "cwd": directory,
        "capabilities": {"bounding": held, "effective": held, "permitted": held, "inheritable": [], "ambient": []},
        "noNewPrivileges": not spec.security.allow_privilege_escalation,
    }
    score = spec.limits.oom_score_adjust
    if score and not rootless:
        tree["oomScoreAdj"] = score
    return tree


def environment(spec: ContainerSpec, hostname: str) -> Mapping[str, str]:
    """Return the variables, later ones winning: defaults, the image's, the container's own."""
    merged = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if spec.tty:
        merged["TERM"] = "xterm"
    merged.update(spec.image.environment)
    merged.update(spec.environment)
    return merged


def capabilities(security: Security) -> Sequence[str]:
    """Return the names held, without `CAP_`: the default or all, plus what is added, less what is dropped (node 10)."""
    if security.privileged:
        return ALL_CAPABILITIES
    added = [_plain(name) for name in security.add_capabilities]
    dropped = {_plain(name) for name in security.drop_capabilities}
    held = dict.fromkeys(ALL_CAPABILITIES if "ALL" in added else DEFAULT_CAPABILITIES)
    if "ALL" in dropped:
        held = {}
    held.update(dict.fromkeys(name for name in added if name != "ALL"))
    for name in dropped:
        held.pop(name, None)
    return [name for name in held if name in ALL_CAPABILITIES]


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _unmasked(security: Security) -> bool:
    return security.privileged or security.proc_mount == "Unmasked"


def _namespaces(place: Place) -> list[dict[str, str]]:
    of_sandbox = f"/proc/{place.sandbox_pid}/ns"
    namespaces = [
        {"type": "mount"},
        {"type": "network", "path": f"{of_sandbox}/net"},
        {"type": "ipc", "path": f"{of_sandbox}/ipc"},
        {"type": "uts", "path": f"{of_sandbox}/uts"},
    ]
    namespaces.append({"type": "pid", "path": f"{of_sandbox}/pid"} if place.share_pids else {"type": "pid"})
    return namespaces


def _base_mounts(place: Place, *, privileged: bool) -> list[dict[str, Any]]:
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if not place.rootless:
        terminals.append("gid=5")
    safe = ["nosuid", "noexec", "nodev"]
    mounts = [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", terminals),
        _mount("/dev/shm", "bind", str(place.shared_memory), ["rbind", "nosuid", "noexec", "nodev"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
        _mount("/sys", "sysfs", "sysfs", [*safe, "rw" if privileged else "ro"]),
        _mount("/sys/fs/cgroup", "tmpfs", "tmpfs", [*safe, "ro", "mode=755", "size=0"]),
    ]
    mounts += [
        _mount(path, "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777" if path == "/tmp" else "mode=755"])
        for path in place.fresh
    ]
    return mounts


def _resources(limits: Limits) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    if limits.memory_bytes:
        resources["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    shares, quota = limits.cpu_shares, limits.cpu_quota_microseconds
    if shares or quota:
        resources["cpu"] = {"shares": shares} if shares else {}
        if quota:
            resources["cpu"] |= {"quota": quota, "period": 100_000}
    if limits.pids:
        resources["pids"] = {"limit": limits.pids}
    return resources


def _volumes(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """Shallow targets first, so that a volume inside a volume is not covered by it."""
    return [_volume(mount) for mount in sorted(mounts, key=lambda mount: mount.target.rstrip("/").count("/"))]


def _volume(mount: Mount) -> dict[str, Any]:
    writable = "ro" if mount.read_only else "rw"
    if mount.kind == "tmpfs":
        options = ["nosuid", "nodev", writable]
        if mount.size_bytes is not None:
            options.append(f"size={mount.size_bytes}")
        if mount.mode is not None:
            options.append(f"mode={mount.mode:o}")
        return _mount(mount.target, "tmpfs", "tmpfs", options)
    return _mount(mount.target, "bind", mount.source, ["rbind", mount.propagation, writable])


def _mount(target: str, kind: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}
