"""`doctor`: what this host offers and lacks, and the exact command that mends it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from homeport.cli.output import output_option, print_json

__all__ = ["Finding", "doctor", "has_ipv6", "lacking", "nftables"]

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `needed` tells whether pods can run without it; `remedy` is a command, empty when fine."""

    what: str
    fine: bool
    found: str
    needed: bool = True
    remedy: str = ""


@click.command()
@output_option
def doctor(output: str | None) -> None:
    """Look at this host. Exits with 1 when something needed is missing."""
    findings = [*examine(), *_ages()]
    if output == "json":
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "ok  " if finding.fine else "MISS" if finding.needed else "less"
            click.echo(f"{mark} {finding.what}: {finding.found}")
            if finding.remedy:
                click.echo(f"     mend it: {finding.remedy}")
    if any(not finding.fine and finding.needed for finding in findings):
        raise click.exceptions.Exit(1)


def lacking() -> list[Finding]:
    """Return what must be there to run pods, and is not."""
    return [one for one in examine() if one.needed and not one.fine]


def nftables() -> Finding:
    """Return whether the packet filter can be told what to do."""
    absent = "not found; Services are balanced in user space, and pods see the node as their peer"
    found = _program("nft", "nftables", "", needed=False)
    return found if found.fine else replace(found, found=absent)


def examine() -> Iterator[Finding]:
    """Yield findings, what everything else needs first."""
    yield Finding(
        "system",
        sys.platform == "linux",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    )
    yield _namespaces()
    yield _runtime()
    yield nftables()
    yield _ipv6()
    yield _overlay()
    yield _cgroups()
    yield _ranges()
    yield _program(
        "kubectl", "kubernetes-client", "optional: `homeport get`, `apply`, `logs`, `exec` do the daily work", False
    )


def _program(name: str, package: str, use: str, needed: bool = True) -> Finding:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")
    if path is not None:
        return Finding(name, True, path, needed)
    return Finding(name, False, f"not found; {use}", needed, _install(package))


def _install(package: str) -> str:
    prefix = "" if os.geteuid() == 0 else "sudo "
    for manager, words in (
        ("apt-get", "install -y"),
        ("dnf", "install -y"),
        ("pacman", "-S"),
        ("zypper", "install -y"),
    ):
        if shutil.which(manager):
            return f"{prefix}{manager} {words} {package}"
    return f"install {package} with this system's package manager"


def _runtimes() -> dict[str, str]:
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"
    return {name: program for name in ("crun", "runc") if (program := shutil.which(name, path=path))}


def _runtime() -> Finding:
    if found := _runtimes():
        return Finding("container runtime", True, ", ".join(found))
    return Finding("container runtime", False, "neither crun nor runc", True, _install("crun"))


def _ages() -> Iterator[Finding]:
    """Yield what is to be said about the versions of the runtimes: too slow to ask before every start."""
    from homeport.node.runtime.versions import outdated

    for name, program in _runtimes().items():
        version = _version(program)
        remark = outdated(name, version)
        yield Finding(f"version of {name}", not remark, remark or version, False)


def _version(program: str) -> str:
    """Return the third word of what a runtime says of itself: `crun version 1.8.1`."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    return said[2] if len(said) > 2 else "of unknown version"


def _namespaces() -> Finding:
    if os.geteuid() == 0:
        return Finding("namespaces", True, "root: made directly")
    child = os.fork()
    if child == 0:
        from homeport.node import syscalls

        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 0:
        return Finding("namespaces", True, "user namespaces: allowed for ordinary users")
    for path, value in (
        ("kernel/unprivileged_userns_clone", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "0"),
        ("user/max_user_namespaces", "10000"),
    ):
        file = Path("/proc/sys") / path
        if file.exists() and file.read_text().strip() != value:
            return Finding(
                "namespaces", False, f"{path.replace('/', '.')} forbids them to ordinary users", True,
                f"sudo sysctl -w {path.replace('/', '.')}={value}",
            )  # fmt: skip
    return Finding("namespaces", False, "the kernel refuses user namespaces", True, "run homeport as root")


def has_ipv6() -> bool:
    """Tell whether the kernel speaks IPv6; where it was booted without, the file is not there."""
    return Path("/proc/net/if_inet6").exists()


def _ipv6() -> Finding:
    if has_ipv6():
        return Finding("IPv6", True, "known to the kernel", False)
    return Finding(
        "IPv6",
        False,
        "switched off: clusters speak IPv4 alone",
        False,
        "boot without the kernel option ipv6.disable=1",
    )


def _overlay() -> Finding:
    known = "\toverlay\n" in Path("/proc/filesystems").read_text()
    if known:
        return Finding("overlayfs", True, "known to the kernel")
    prefix = "" if os.geteuid() == 0 else "sudo "
    return Finding("overlayfs", False, "not loaded; images are mounted with it", True, f"{prefix}modprobe overlay")


def _cgroups() -> Finding:
    mounts = Path("/proc/self/mounts").read_text()
    if " cgroup2 " in mounts and " cgroup " not in mounts:
        found = "version 2"
    elif " cgroup " in mounts:
        found = "version 1 or hybrid"
    else:
        return Finding("cgroups", False, "none: resource limits are not enforced", False)
    return Finding("cgroups", True, found, False)


def _ranges() -> Finding:
    if os.geteuid() == 0:
        return Finding("user ids", True, "root: images keep their users", False)
    from homeport.node.holder_client import subordinate_range

    if shutil.which("newuidmap") and subordinate_range("/etc/subuid") and subordinate_range("/etc/subgid"):
        return Finding("user ids", True, "subordinate ranges: images keep their users", False)
    return Finding(
        "user ids", False, "one id only: files of an image's other users appear as nobody's", False, _install("uidmap")
    )
