"""Large answers, compressed for those who take it (api-machinery 5.9): a body shared by many is packed once."""

import zlib
from collections import OrderedDict
from typing import Final

__all__ = ["GZIP_FROM", "Compressor"]

GZIP_FROM: Final = 128 * 1024  # bytes
_LEVEL: Final = 1
_GZIP_FORMAT: Final = 31
_KEPT: Final = 8


class Compressor:
    """Remembers the last few bodies by identity: the same list is sent to many clients as the same object."""

    def __init__(self) -> None:
        self._packed: OrderedDict[int, tuple[bytes, bytes]] = OrderedDict()

    def gzip(self, body: bytes) -> bytes:
        """Return the body in gzip format."""
        known = self._packed.get(id(body))
        if known is not None and known[0] is body:
            return known[1]
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
        packed = packer.compress(body) + packer.flush()
        self._packed[id(body)] = body, packed
        if len(self._packed) > _KEPT:
            self._packed.popitem(last=False)
        return packed
