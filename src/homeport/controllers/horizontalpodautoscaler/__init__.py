"""HorizontalPodAutoscalers: as many pods as their measured load asks for."""

from homeport.controllers.horizontalpodautoscaler.controller import HorizontalPodAutoscalerController

__all__ = ["HorizontalPodAutoscalerController"]
