"""Recipes: what turns a dataset into a recommender."""

from acclimate.learners.base import Learner, Run

__all__ = ["Learner", "Run"]
