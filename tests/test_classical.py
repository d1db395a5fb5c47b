"""The recipes of the classical recommenders; what they make is tested with each recommender."""

import inspect
from dataclasses import fields

import pytest
import torch

from acclimate import models, persist
from acclimate.data import synthetic_world
from acclimate.errors import UserInputError
from acclimate.learners.base import Run
from acclimate.learners.classical import (
    ALS,
    EASE,
    IALS,
    Bias,
    Content,
    ItemKNN,
    ItemMean,
    Popularity,
    UserKNN,
)

RATING = [ItemMean(), Bias(), Content(), UserKNN(), ItemKNN(), EASE(), ALS(embedding_size=2)]
RANKING = [Popularity(), Content(), UserKNN(), ItemKNN(), EASE(), IALS(embedding_size=2)]


@pytest.fixture(scope="module")
def ratings():
    return synthetic_world(60, 20).dataset


@pytest.fixture(scope="module")
def choices():
    return synthetic_world(60, 20, explicit=False).dataset


@pytest.mark.parametrize("learner", RATING, ids=lambda learner: learner.name)
def test_on_ratings_a_recipe_predicts_ratings(learner, ratings):
    assert learner.fit(ratings).scale == "rating"


@pytest.mark.parametrize("learner", RANKING, ids=lambda learner: learner.name)
def test_on_choices_a_recipe_ranks(learner, choices):
    assert learner.fit(choices).scale == "rank"


@pytest.mark.parametrize("kind", [Content, UserKNN, ItemKNN, EASE])
def test_a_recipe_for_both_ranks_on_ratings_when_asked_and_then_ignores_their_values(kind, ratings):
    asked, of_choices = kind(scale="rank").fit(ratings), kind().fit(ratings.implicit())
    assert asked.scale == "rank"
    assert persist.pack(asked)[0] == persist.pack(of_choices)[0]
    for name, tensor in persist.pack(asked)[1].items():
        assert torch.equal(tensor, persist.pack(of_choices)[1][name])


@pytest.mark.parametrize("kind", [Content, UserKNN, ItemKNN, EASE])
def test_choices_cannot_be_asked_for_ratings(kind, choices):
    with pytest.raises(UserInputError, match="holds implicit events"):
        kind(scale="rating").fit(choices)


@pytest.mark.parametrize("learner", [*RATING, *RANKING], ids=lambda learner: learner.name)
def test_one_seed_one_result(learner, ratings, choices):
    dataset = ratings if learner in RATING else choices
    tensors = [persist.pack(learner.fit(dataset, run=Run(seed=3)))[1] for _ in range(2)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.parametrize("learner", [*RATING, *RANKING], ids=lambda learner: learner.name)
def test_there_is_nothing_to_continue_from(learner, ratings, choices):
    dataset = ratings if learner in RATING else choices
    with pytest.raises(UserInputError, match=f"{learner.name} cannot continue from a fitted Bias"):
        learner.fit(dataset, start=Bias().fit(ratings))


@pytest.mark.parametrize(
    ("learner", "recommender"),
    [
        (ItemMean, models.ItemMean),
        (Bias, models.Bias),
        (Content, models.ContentRidge),
        (UserKNN, models.UserKNN),
        (UserKNN, models.UserKNNRating),
        (ItemKNN, models.ItemKNN),
        (ItemKNN, models.ItemKNNRating),
        (EASE, models.EASE),
        (ALS, models.ALS),
        (IALS, models.IALS),
    ],
)
def test_a_recipe_and_the_recommender_it_makes_have_the_same_defaults(learner, recommender):
    own = inspect.signature(recommender.fit).parameters
    shared = {field.name: field.default for field in fields(learner) if field.name in own.keys() - {"scale"}}
    assert shared
    assert shared == {name: own[name].default for name in shared}


def test_the_settings_reach_the_recommender(ratings, choices):
    assert ItemKNN(damping=0.7).fit(ratings).model.damping == 0.7
    assert ItemKNN(base=ItemMean(damping=2.0)).fit(ratings).base.mean == pytest.approx(
        float(ratings.interactions.values.mean())
    )
    assert UserKNN(neighbours=7).fit(choices).crowd.k == 7
    assert ALS(embedding_size=3).fit(ratings).factors.shape == (20, 3)
    assert IALS(embedding_size=3, weighted=True).fit(choices).weighted
    assert torch.equal(EASE().fit(choices).weights, EASE(regularisation=2000.0).fit(choices).weights)
    assert torch.equal(
        EASE().fit(ratings).model.weights, EASE(regularisation=200.0).fit(ratings).model.weights
    )
    with pytest.raises(UserInputError, match="limited to 19 items"):
        EASE(most_items=19).fit(choices)
