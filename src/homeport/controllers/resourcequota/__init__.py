"""ResourceQuotas: what is used in a namespace, counted."""

from homeport.controllers.resourcequota.controller import ResourceQuotaController

__all__ = ["ResourceQuotaController"]
