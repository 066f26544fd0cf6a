"""Deployments: from one template to the next by growing and shrinking ReplicaSets."""

from homeport.controllers.deployment.shell import DeploymentController

__all__ = ["DeploymentController"]
