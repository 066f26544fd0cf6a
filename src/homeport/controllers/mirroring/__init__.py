"""Endpoints written by hand, shown as EndpointSlices to those who read only these."""

from homeport.controllers.mirroring.controller import EndpointSliceMirroring

__all__ = ["EndpointSliceMirroring"]
