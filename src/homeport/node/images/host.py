"""The host image `homeport.local/host`: the machine's own root file system as a container's (node 10, "Host-image").

A *variant* is the host image dressed as a well-known one (`programs`): the same files, plus a few that make the
distribution's program behave as that image does.
"""

import hashlib
from pathlib import Path
from typing import Final

from homeport.node.images.programs import PROGRAMS, Program
from homeport.node.runtime.contract import Image
from homeport.node.runtime.users import IdMap

__all__ = ["HOST_REFERENCE", "host_image", "is_host", "program_image", "program_of"]

HOST_REFERENCE: Final = "homeport.local/host"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def host_image(reference: str, *, os_release: Path = Path("/etc/os-release")) -> Image:
    """Return the host image; its id changes only with the operating system's release."""
    return Image(
        id=f"{HOST_REFERENCE}@{_release(os_release)}",
        reference=reference,
        command=("/bin/sh",),
        environment=(("PATH", _PATH),),
    )


def program_image(program: Program, reference: str, *, os_release: Path = Path("/etc/os-release")) -> Image:
    """Return the host image as one of the well-known programs."""
    return Image(
        id=f"{HOST_REFERENCE}/{program.name}@{_release(os_release)}",
        reference=reference,
        entrypoint=program.entrypoint,
        command=program.command,
        environment=(("PATH", program.path_prefix() + _PATH), *program.environment),
        user=program.alone if IdMap.of_this_process().single else "",
        working_directory=program.working_directory,
        stop_signal=program.stop_signal,
        note=f"{reference} is not available here; using this machine's own {program.name}",
    )


def is_host(image_id: str) -> bool:
    """Tell whether an image id means the host's files, plain or dressed."""
    return image_id.partition("@")[0].removesuffix("/").startswith(HOST_REFERENCE)


def program_of(image_id: str) -> Program | None:
    """Return which well-known program a host image id is dressed as, or None."""
    name = image_id.partition("@")[0].removeprefix(HOST_REFERENCE).lstrip("/")
    return next((program for program in PROGRAMS if program.name == name), None)


def _release(os_release: Path) -> str:
    try:
        content = os_release.read_bytes()
    except OSError:
        content = b""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
