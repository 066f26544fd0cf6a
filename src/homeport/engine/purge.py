"""Removing a cluster's data, whoever inside its pods it belongs to."""

import os
import shutil
from pathlib import Path

from homeport.node.holder_client import subordinate_range
from homeport.node.unsharing import create_namespaces, needs_user_namespace

__all__ = ["PurgeError", "purge"]


class PurgeError(Exception):
    """Something of the data stays; the text names it."""


def purge(directory: Path) -> None:
    """Remove a directory with all it holds. Raises PurgeError.

    Without root, files may belong to ids that exist in the cluster's user namespace alone, and overlay file systems
    leave directories nobody may enter: then a child makes such a namespace again and removes them from there.
    """
    try:
        shutil.rmtree(directory)
    except PermissionError as error:
        if not needs_user_namespace():
            raise PurgeError(str(error)) from error
        trouble = _purge_from_inside(directory)
        if trouble:
            raise PurgeError(trouble) from error
    except OSError as error:
        raise PurgeError(str(error)) from error


def _purge_from_inside(directory: Path) -> str:
    """Return what went wrong, empty for nothing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            create_namespaces(subordinate_range("/etc/subuid"), subordinate_range("/etc/subgid"))
            shutil.rmtree(directory)
        except BaseException as error:
            os.write(writer, str(error).encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as said:
        trouble = said.read()
    os.waitpid(pid, 0)
    return trouble
