"""The service: observe, recommend, rank, similar, explain, onboarding, erase, export."""

from acclimate.serving.service.observing import Observation
from acclimate.serving.service.service import Service

__all__ = ["Observation", "Service"]
