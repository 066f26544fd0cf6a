"""Ranges of cluster addresses: fit to draw from, and held for as long as somebody has an address of them."""

from homeport.controllers.servicecidr.controller import ServiceCidrController

__all__ = ["ServiceCidrController"]
