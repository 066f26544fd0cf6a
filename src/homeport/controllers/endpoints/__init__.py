"""Endpoints, the older summary of a Service's pods, still read by many clients."""

from homeport.controllers.endpoints.controller import EndpointsController

__all__ = ["EndpointsController"]
