from acclimate.learners.implicit_ridge import ImplicitRidge
from acclimate.testing import RecommenderLaws


class TestImplicitRidge(RecommenderLaws):
    explicit = False

    def make(self, world):
        return ImplicitRidge(
            embedding_size=6, support=(1, 12), query=10, epochs=15, batch_size=20, outer_lr=0.02
        ).fit(world.dataset)
