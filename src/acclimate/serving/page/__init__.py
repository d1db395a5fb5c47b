"""The page: a playground and a status view, which ask the same HTTP interface as everybody else."""

from acclimate.serving.page.views import HEADERS, Asset, assets, digest, render, router

__all__ = ["HEADERS", "Asset", "assets", "digest", "render", "router"]
