"""Handing nftables text to the kernel, one transaction a call.

libnftables in this process takes 0.2 ms for a change, among ten Services as among ten thousand; a spawned `nft` takes
some ten times that, and serves where only the command is there.
"""

import asyncio
import ctypes
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from homeport.garbage import give_back

__all__ = ["Kernel", "LibraryKernel", "NftCommandKernel", "NftablesError", "NftablesMissing", "open_kernel"]

_LIBRARY: Final = "libnftables.so.1"
_LARGE: Final = 1 << 18
"""Characters of a transaction from which on the library needs memory worth giving back: forty times as many bytes."""
_MISSING: Final = (
    "nftables was not found: neither libnftables.so.1 nor the nft command. "
    "Install the package `nftables` of your distribution (Debian, Ubuntu, Fedora, Arch and Alpine name it so)."
)


class NftablesError(Exception):
    """The kernel, or nftables on its behalf, refused a transaction; nothing of it was done."""


class NftablesMissing(Exception):
    """This machine has no nftables; the text names the package to install."""


class Kernel(Protocol):
    """The packet filter of the network namespace it was opened in."""

    async def apply(self, transaction: str) -> None:
        """Do all of `transaction` or nothing. Raises NftablesError."""
        ...

    async def read(self, command: str) -> str:
        """Return what nftables prints for a command such as `list sets table ip x`. Raises NftablesError."""
        ...

    async def close(self) -> None: ...


def open_kernel() -> Kernel:
    """Return the quickest way to this network namespace's packet filter. Raises NftablesMissing."""
    try:
        return LibraryKernel()
    except OSError:
        command = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin")
        if command is None:
            raise NftablesMissing(_MISSING) from None
        return NftCommandKernel(command)


class LibraryKernel:
    """libnftables, called in a thread of its own: a transaction never holds up the event loop."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_LIBRARY)
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        self._library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._library.nft_ctx_get_output_buffer.argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        self._library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        context = self._library.nft_ctx_new(0)
        if not context:
            raise OSError("libnftables gave no context")
        self._context: int | None = context
        self._library.nft_ctx_buffer_error(context)
        self._library.nft_ctx_buffer_output(context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nftables")

    async def apply(self, transaction: str) -> None:
        await self.read(transaction)

    async def read(self, command: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, command)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._free)
        self._thread.shutdown()

    def _run(self, command: str) -> str:
        try:
            return self._performed(command)
        finally:
            if len(command) >= _LARGE:
                give_back()

    def _performed(self, command: str) -> str:
        if self._library.nft_run_cmd_from_buffer(self._context, command.encode()):
            message: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
            raise NftablesError(message.decode(errors="replace").strip() or "nftables refused without a reason")
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        return output.decode(errors="replace")

    def _free(self) -> None:
        if self._context is not None:
            self._library.nft_ctx_free(self._context)
            self._context = None


class NftCommandKernel:
    """The `nft` command, started once per transaction."""

    def __init__(self, command: str) -> None:
        self._command = command

    async def apply(self, transaction: str) -> None:
        await self.read(transaction)

    async def read(self, command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            self._command,
            "-f",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C"},
        )
        output, errors = await process.communicate(command.encode())
        if process.returncode:
            raise NftablesError(errors.decode(errors="replace").strip() or f"nft ended with {process.returncode}")
        return output.decode(errors="replace")

    async def close(self) -> None:
        """Nothing is kept open."""
