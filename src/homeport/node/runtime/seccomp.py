"""System calls a container is refused: the `RuntimeDefault` profile, as a short list of what no container needs.

A deny list: the kernel's interface grows faster than allow lists, and a filter of some sixty calls is compiled by the
runtime in a fraction of the time. Calls that a granted capability is for are allowed with it, as upstream's do.
"""

import json
import os
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from homeport.node import syscalls
from homeport.node.runtime.contract import RuntimeFailure

__all__ = ["LOCALHOST", "default_profile", "local_profile"]

LOCALHOST: Final = "Localhost:"
"""What `Security.seccomp` begins with when the rest is the path of a profile on this node."""

_KEYS: Final = (
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "syscalls",
    "listenerPath",
    "listenerMetadata",
)
_MAX_BYTES: Final = 4 << 20

_NEVER: Final = (
    "_sysctl", "add_key", "create_module", "get_kernel_syms", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl", "nfsservctl",
    "query_module", "request_key", "sysfs", "uselib", "userfaultfd", "ustat", "vm86", "vm86old",
)  # fmt: skip

_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "SYS_ADMIN": (
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr",
        "move_mount", "open_tree", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setdomainname",
        "sethostname", "setns", "swapoff", "swapon", "syslog", "umount", "umount2", "unshare",
    ),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SYS_BOOT": ("reboot",),
    "SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "SYS_NICE": ("migrate_pages", "move_pages"),
    "SYS_PACCT": ("acct",),
    "SYS_RAWIO": ("ioperm", "iopl"),
    "SYS_TIME": ("clock_adjtime", "clock_settime", "settimeofday", "stime"),
    "SYS_PTRACE": ("kcmp", "process_madvise"),
}  # fmt: skip

_NEW_NAMESPACES: Final = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_ENOSYS: Final = 38
_EPERM: Final = 1

_ARCHITECTURES: Final = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}


def default_profile(capabilities: Collection[str], machine: str = platform.machine()) -> dict[str, Any]:
    """Return the OCI `linux.seccomp` tree for a container with these capabilities (names without `CAP_`)."""
    denied = list(_NEVER)
    for capability, calls in _WITH.items():
        if capability not in capabilities:
            denied += calls
    rules: list[dict[str, Any]] = [{"names": sorted(denied), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM}]
    if "SYS_ADMIN" not in capabilities:
        # clone3 hides its flags in memory a filter cannot read: libraries fall back to clone on ENOSYS
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
        rules += [_no_clone(1 << bit) for bit in range(32) if _NEW_NAMESPACES >> bit & 1]
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    if machine in _ARCHITECTURES:
        profile["architectures"] = list(_ARCHITECTURES[machine])
    return profile


def local_profile(root: Path, path: str) -> dict[str, Any]:
    """Return the profile at `path` beneath `root`, wherever links in it point. Raises RuntimeFailure."""
    try:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY)
        try:
            with open(syscalls.open_in_root(top, path, os.O_RDONLY), encoding="utf-8") as file:
                tree = json.loads(file.read(_MAX_BYTES))
        finally:
            os.close(top)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not JSON: {error}"
        raise RuntimeFailure("CreateContainerError", f'cannot load seccomp profile "{path}": {reason}') from error
    if not isinstance(tree, dict) or "defaultAction" not in tree:
        raise RuntimeFailure("CreateContainerError", f'cannot load seccomp profile "{path}": no defaultAction')
    return {key: tree[key] for key in _KEYS if key in tree}


def _no_clone(flag: int) -> dict[str, Any]:
    having = {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
    return {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM, "args": [having]}
