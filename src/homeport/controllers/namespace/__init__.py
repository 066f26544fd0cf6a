"""Deletion of namespaces: their content in order, then the name."""

from homeport.controllers.namespace.controller import NamespaceController

__all__ = ["NamespaceController"]
