"""Persistent storage: claims bound to volumes, local directories provisioned, nothing removed while it is used."""

from homeport.controllers.volumes.binder import VolumeBinder
from homeport.controllers.volumes.ephemeral import EphemeralVolumes
from homeport.controllers.volumes.protection import ClaimProtection, VolumeProtection
from homeport.controllers.volumes.provisioner import LocalProvisioner

__all__ = ["ClaimProtection", "EphemeralVolumes", "LocalProvisioner", "VolumeBinder", "VolumeProtection"]
