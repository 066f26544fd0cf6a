"""EndpointSlices of Services with a selector: pods packed into slices, with the fewest writes."""

from homeport.controllers.endpointslice.controller import EndpointSliceController

__all__ = ["EndpointSliceController"]
