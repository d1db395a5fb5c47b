import torch

from acclimate.learners.ridge import Ridge
from acclimate.testing import RecommenderLaws


class TestRidgeHead(RecommenderLaws):
    def make(self, world):
        return Ridge(embedding_size=6, support=(1, 12), query=10, epochs=15, batch_size=20, outer_lr=0.02).fit(world.dataset)
