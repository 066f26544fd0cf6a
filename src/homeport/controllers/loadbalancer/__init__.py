"""Addresses of LoadBalancer Services, from pools of the cluster's own."""

from homeport.controllers.loadbalancer.controller import LoadBalancerController

__all__ = ["LoadBalancerController"]
