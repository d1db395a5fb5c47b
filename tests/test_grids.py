import pytest

from acclimate.data import synthetic_world
from acclimate.learners.classical import Content, Popularity
from acclimate.learners.grids import TRIALS, tuned_floors
from acclimate.learners.tuned import Tuned
from acclimate.learners.validation import Validation


@pytest.mark.parametrize("scale", ["rating", "rank"])
def test_every_floor_is_tuned_with_the_same_number_of_distinct_trials(scale):
    floors = tuned_floors(scale)
    assert len({floor.name for floor in floors}) == len(floors)
    for floor in floors:
        if isinstance(floor, Tuned):
            assert len(set(floor.candidates)) == TRIALS
            assert {candidate.name for candidate in floor.candidates} == {floor.name}
        else:
            assert scale == "rank"
            assert isinstance(floor, Popularity | Content)


@pytest.mark.parametrize("scale", ["rating", "rank"])
def test_every_floor_fits_and_has_the_scale_of_its_table(scale):
    dataset = synthetic_world(80, 20, explicit=scale == "rating").dataset
    for floor in tuned_floors(scale, Validation(shots=(3,))):
        assert floor.fit(dataset).scale == scale


def test_floors_on_ratings_can_be_asked_to_rank():
    dataset = synthetic_world(80, 20).dataset
    names = [floor.name for floor in tuned_floors("rank")]
    assert names == ["popularity", "content", "user-knn", "item-knn", "ease", "ials"]
    knn = next(floor for floor in tuned_floors("rank") if floor.name == "item-knn")
    assert knn.candidates[0].fit(dataset).scale == "rank"
