"""Patches as functions: a tree and a patch in, a new tree out, sharing what did not change; inputs stay as they are."""

from homeport.api.patch.json_patch import apply_json_patch
from homeport.api.patch.merge_patch import apply_merge_patch
from homeport.api.patch.strategic import apply_strategic_patch

__all__ = ["apply_json_patch", "apply_merge_patch", "apply_strategic_patch"]
