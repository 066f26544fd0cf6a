"""What every namespace holds from its first moment: the default account and the cluster's CA bundle."""

from homeport.controllers.serviceaccount.controller import NamespaceFurnisher

__all__ = ["NamespaceFurnisher"]
