from acclimate.learners.maml import Maml
from acclimate.models.inner_loop import InnerLoop
from acclimate.testing import RecommenderLaws

SMALL = {"embedding_size": 8, "hidden": (16,), "support": (1, 12), "query": 10, "epochs": 15, "batch_size": 20, "outer_lr": 0.02, "id_decay": 0.1}

class TestMamlOnRatings(RecommenderLaws):
    def make(self, world):
        return Maml(**SMALL).fit(world.dataset)


class TestMamlOnChoices(RecommenderLaws):
    explicit = False

    def make(self, world):
        return Maml(**SMALL).fit(world.dataset)


class TestFirstOrderMaml(RecommenderLaws):
    def make(self, world):
        return Maml(inner=InnerLoop(steps=3, inner_lr=0.05, first_order=True), **SMALL).fit(world.dataset)


class TestAnil(RecommenderLaws):
    def make(self, world):
        return Maml(inner=InnerLoop(steps=3, inner_lr=0.05, adaptive=("*1",)), **SMALL).fit(world.dataset)
