"""The one failure of volumes."""

__all__ = ["SubPathFailure", "VolumeFailure"]


class VolumeFailure(Exception):
    """A volume cannot be set up now; the text is for the event `FailedMount`. It is tried again."""


class SubPathFailure(Exception):
    """A subPath cannot be used; the text names no host path (`node` 8.5)."""
