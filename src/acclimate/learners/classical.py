"""The classical recommenders as recipes: the floor that anything learned must beat.

Recipes that can both predict ratings and rank follow the data: on ratings they predict ratings, on implicit
events they rank. ``scale="rank"`` makes them rank on ratings too, where every event then counts as a choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from acclimate import models
from acclimate.data import Dataset
from acclimate.learners.base import Learner, Run
from acclimate.learners.composed import fit_residual, refuse_start
from acclimate.models.base import Recommender, Scale


@dataclass(frozen=True)
class Popularity:
    """:class:`~acclimate.models.popularity.Popularity`: what most people chose."""

    name: str = "popularity"

    def fit(
        self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()
    ) -> models.Popularity:
        refuse_start(self.name, start)
        return models.Popularity.fit(dataset)


@dataclass(frozen=True)
class ItemMean:
    """:class:`~acclimate.models.item_mean.ItemMean`: what people thought of an item on average.

    Attributes:
        damping: as if every item had this many more ratings, all of them average.
    """

    damping: float = 5.0
    name: str = "item-mean"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> models.ItemMean:
        refuse_start(self.name, start)
        return models.ItemMean.fit(dataset, damping=self.damping)


@dataclass(frozen=True)
class Bias:
    """:class:`~acclimate.models.bias.Bias`: an average, an item's worth and a user's generosity.

    Attributes:
        damping: as if every user had this many more ratings without any offset. item_damping: the same for
            items.
        sweeps: rounds over items and users.
    """

    damping: float = 5.0
    item_damping: float = 5.0
    sweeps: int = 10
    name: str = "bias"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> models.Bias:
        refuse_start(self.name, start)
        return models.Bias.fit(
            dataset, damping=self.damping, item_damping=self.item_damping, sweeps=self.sweeps
        )


@dataclass(frozen=True)
class Content:
    """What an item's fields say, never its id: new items are items like any other.

    Ratings: :class:`~acclimate.models.content.ContentRidge`, a ridge regression on fields for each user.
    Choices: :class:`~acclimate.models.content.ContentProfile`, the cosine of TF-IDF profiles, which has
    nothing to set.

    Attributes:
        regularisation, offset_regularisation, item_damping, item_regularisation: of the ridge regression.
        scale: None follows the data.
    """

    regularisation: float = 10.0
    offset_regularisation: float = 3.0
    item_damping: float = 20.0
    item_regularisation: float = 2.0
    scale: Scale | None = None
    name: str = "content"

    def fit(
        self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()
    ) -> models.ContentRidge | models.ContentProfile:
        refuse_start(self.name, start)
        if scale_for(self.scale, dataset) == "rank":
            return models.ContentProfile.fit(dataset)
        return models.ContentRidge.fit(
            dataset,
            regularisation=self.regularisation,
            offset_regularisation=self.offset_regularisation,
            item_damping=self.item_damping,
            item_regularisation=self.item_regularisation,
        )


@dataclass(frozen=True)
class UserKNN:
    """What people like you chose: :class:`~acclimate.models.user_knn.UserKNN`.

    Ratings: :class:`~acclimate.models.user_knn.UserKNNRating` over what a base line leaves.

    Attributes:
        neighbours: k. shrinkage: of the cosine. damping: of the average of ratings.
        base: the base line of ratings.
        scale: None follows the data.
    """

    neighbours: int = 100
    shrinkage: float = 10.0
    damping: float = 0.5
    base: Learner = Bias()
    scale: Scale | None = None
    name: str = "user-knn"

    def fit(
        self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()
    ) -> models.UserKNN | models.Residual:
        refuse_start(self.name, start)
        if scale_for(self.scale, dataset) == "rank":
            return models.UserKNN.fit(dataset, neighbours=self.neighbours, shrinkage=self.shrinkage)

        def fit(rest: Dataset) -> models.UserKNNRating:
            # The shrinkage stands beside squared ratings.
            shrinkage = self.shrinkage * dataset.unit**2
            return models.UserKNNRating.fit(
                rest, neighbours=self.neighbours, shrinkage=shrinkage, damping=self.damping
            )

        return fit_residual(self.base, fit, dataset, run)


@dataclass(frozen=True)
class ItemKNN:
    """What resembles the things you chose: :class:`~acclimate.models.item_knn.ItemKNN`.

    Ratings: :class:`~acclimate.models.item_knn.ItemKNNRating` over what a base line leaves.

    Attributes:
        neighbours: k. shrinkage: of the cosine. damping: of the average of ratings.
        base: the base line of ratings.
        scale: None follows the data.
    """

    neighbours: int = 300
    shrinkage: float = 10.0
    damping: float = 0.5
    base: Learner = Bias()
    scale: Scale | None = None
    name: str = "item-knn"

    def fit(
        self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()
    ) -> models.ItemKNN | models.Residual:
        refuse_start(self.name, start)
        if scale_for(self.scale, dataset) == "rank":
            return models.ItemKNN.fit(dataset, neighbours=self.neighbours, shrinkage=self.shrinkage)

        def fit(rest: Dataset) -> models.ItemKNNRating:
            # The shrinkage stands beside squared ratings.
            shrinkage = self.shrinkage * dataset.unit**2
            return models.ItemKNNRating.fit(
                rest, neighbours=self.neighbours, shrinkage=shrinkage, damping=self.damping
            )

        return fit_residual(self.base, fit, dataset, run)


@dataclass(frozen=True)
class EASE:
    """The best linear map from items to items, in closed form: :class:`~acclimate.models.ease.EASE`.

    Ratings: the same map of what a base line leaves.

    Attributes:
        regularisation: ridge penalty, in events; None for 2000 where it ranks and 200 for ratings, whose
            deviations from the base line are smaller than 1.
        most_items: refuse larger catalogues.
        base: the base line of ratings.
        scale: None follows the data.
    """

    regularisation: float | None = None
    most_items: int = 30_000
    base: Learner = Bias()
    scale: Scale | None = None
    name: str = "ease"

    def fit(
        self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()
    ) -> models.EASE | models.Residual:
        refuse_start(self.name, start)
        scale = scale_for(self.scale, dataset)

        def fit(values: Dataset) -> models.EASE:
            return models.EASE.fit(
                values,
                regularisation=self.regularisation,
                scale=scale,
                most_items=self.most_items,
                device=run.device,
            )

        if scale == "rank":
            return fit(dataset)
        # The map has no unit, but its penalty stands beside squared ratings.
        return fit_residual(
            self.base,
            lambda rest: fit(rest.with_values(rest.interactions.values / dataset.unit)),
            dataset,
            run,
        )


@dataclass(frozen=True)
class ALS:
    """:class:`~acclimate.models.als.ALS`: low-rank ratings, and somebody new as one ridge regression.

    Attributes:
        embedding_size: D.
        regularisation: of vectors. bias_regularisation: of offsets.
        exponent: 0 for plain ridge, 1 for a penalty that grows with the number of ratings.
        prior: how many times the penalty of a typical training user somebody new gets.
        epochs: rounds over users and items.
    """

    embedding_size: int = 16
    regularisation: float = 10.0
    bias_regularisation: float = 5.0
    exponent: float = 0.0
    prior: float = 0.5
    epochs: int = 15
    name: str = "als"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> models.ALS:
        refuse_start(self.name, start)
        return models.ALS.fit(
            dataset,
            embedding_size=self.embedding_size,
            # The penalty of vectors, whose product is a rating, stands beside squared ratings.
            regularisation=self.regularisation * dataset.unit,
            bias_regularisation=self.bias_regularisation,
            exponent=self.exponent,
            prior=self.prior,
            epochs=self.epochs,
            generator=run.generator(),
            device=run.device,
            progress=run.progress,
        )


@dataclass(frozen=True)
class IALS:
    """:class:`~acclimate.models.ials.IALS`: low-rank choices, where all that was not chosen counts against it
    a little.

    Attributes:
        embedding_size: D.
        regularisation: of vectors. unobserved: weight of a pair that did not happen beside one that did.
        exponent: 0 for plain ridge, 1 for a penalty that grows with frequency.
        prior: how many times the penalty of a typical training user somebody new gets.
        epochs: rounds over users and items.
        weighted: weigh events by their values, which are then strengths; otherwise each counts once.
    """

    embedding_size: int = 64
    regularisation: float = 10.0
    unobserved: float = 0.1
    exponent: float = 0.0
    prior: float = 1.0
    epochs: int = 10
    weighted: bool = False
    name: str = "ials"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> models.IALS:
        refuse_start(self.name, start)
        return models.IALS.fit(
            dataset,
            embedding_size=self.embedding_size,
            regularisation=self.regularisation,
            unobserved=self.unobserved,
            exponent=self.exponent,
            prior=self.prior,
            epochs=self.epochs,
            weighted=self.weighted,
            generator=run.generator(),
            device=run.device,
            progress=run.progress,
        )


def scale_for(asked: Scale | None, dataset: Dataset) -> Scale:
    """The scale asked for, or the one that the values of the data have."""
    if asked is not None:
        return asked
    return "rating" if dataset.explicit else "rank"
