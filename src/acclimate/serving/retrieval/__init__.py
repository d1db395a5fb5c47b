"""Retrieval: the best items of a catalogue for one vector, exactly, or approximately with measured recall."""

from acclimate.serving.retrieval.approximate import ApproximateScan, FaissIndex, Index, UsearchIndex
from acclimate.serving.retrieval.base import Found, Scan
from acclimate.serving.retrieval.exact import ExactScan

__all__ = ["ApproximateScan", "ExactScan", "FaissIndex", "Found", "Index", "Scan", "UsearchIndex"]
