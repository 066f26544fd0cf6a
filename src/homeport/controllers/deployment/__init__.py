"""Deployments: from one template to the next by growing and shrinking ReplicaSets."""

from homeport.controllers.deployment.controller import DeploymentController

__all__ = ["DeploymentController"]
