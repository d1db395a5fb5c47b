"""Content: what the fields of an item say, so that an item nobody has touched is an item like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor
from torch.nn import functional

from acclimate.data import Dataset, Feedback, Items
from acclimate.encoders import FieldRows
from acclimate.errors import UserInputError
from acclimate.models.base import Scale
from acclimate.models.checks import need_events, need_positive, need_ratings
from acclimate.tensors import State

# Numbers of a dense block of features held at once.
_BLOCK = 50_000_000


@dataclass(frozen=True, eq=False)
class ContentRidge:
    """Predicts ``r(u, i) = f_i . w_u`` with f_i the features of the item's fields and a constant 1, never its
    id.

    The weights of a user have a Gaussian prior around those of everybody, which predict the items' mean
    ratings:

        w_u = argmin_w sum_{i in S} (r_ui - f_i . w)^2 + l |w - w_0|^2 + l_0 (offset - offset_0)^2

    solved through the S x S kernel of the support, so that many features cost little. A State holds w_u.

    Attributes:
        rows: how fields become features; feature 0 is the constant.
        weights: [F] float32, w_0, in the units of the ratings.
        regularisation: l. offset_regularisation: l_0, of the constant's weight.

    Source: ridge regression on content for each user as in Pazzani and Billsus, "Content-Based Recommendation
    Systems", 2007, section 10.4; with the common prior of Zhang and Koren, "Efficient Bayesian Hierarchical
    User Modeling for Recommendation Systems", SIGIR 2007.
    """

    rows: FieldRows
    weights: Tensor
    regularisation: float
    offset_regularisation: float
    scale: ClassVar[Scale] = "rating"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        regularisation: float = 10.0,
        offset_regularisation: float = 3.0,
        item_damping: float = 20.0,
        item_regularisation: float = 2.0,
    ) -> ContentRidge:
        """Fits the common weights to the items' mean ratings.

        Args:
            regularisation: l. offset_regularisation: l_0; both in ratings.
            item_damping: an item with n ratings counts ``n / (n + item_damping)``.
            item_regularisation: ridge penalty of the common weights, in items.

        Raises:
            UserInputError: the data holds no ratings, or its items have no fields but text.
        """
        need_ratings(dataset, "Content")
        need_positive(
            "Content",
            regularisation=regularisation,
            offset_regularisation=offset_regularisation,
            item_damping=item_damping,
            item_regularisation=item_regularisation,
        )
        rows = _field_rows(dataset)
        inter = dataset.interactions
        n = inter.item_counts().double()
        mean = inter.values.double().mean()
        total = torch.zeros_like(n).index_add_(0, inter.items, inter.values.double() - mean)
        importance = (n / (n + item_damping)).sqrt()
        target = importance * total / n.clamp(min=1)
        catalogue = dataset.catalogue()
        features = _sparse(*rows(catalogue.fields, catalogue.ids), rows.n_features)
        constant = scipy.sparse.csr_matrix(np.ones((features.shape[0], 1)))
        design = scipy.sparse.diags(importance.numpy()) @ scipy.sparse.hstack([constant, features[:, 1:]])
        damp = item_regularisation**0.5
        exact = {"atol": 1e-10, "btol": 1e-10, "maxiter": 2000}
        weights = torch.from_numpy(scipy.sparse.linalg.lsmr(design, target.numpy(), damp=damp, **exact)[0])
        weights[0] += mean
        return cls(rows, weights.float(), regularisation, offset_regularisation)

    def adapt(self, support: Feedback) -> State:
        size = max(1, _BLOCK // (max(1, support.mask.shape[1]) * self.rows.n_features))
        parts = [self._posterior(support[start : start + size]) for start in range(0, support.n_users, size)]
        return {"weights": torch.cat(parts) if parts else self.weights.new_zeros(0, len(self.weights))}

    def score(self, state: State, items: Items) -> Tensor:
        weights = state["weights"]
        return weights[:, :1] + _products(weights, *self.rows(items.fields, items.ids))

    def user_vectors(self, state: State) -> Tensor:
        return state["weights"]

    def item_vectors(self, items: Items) -> Tensor:
        features = self.rows.dense(items.fields, items.ids)
        features[..., 0] = 1.0
        return features

    def contributions(self, support: Feedback, items: Items) -> Tensor:
        features, dual = self._dual(support)
        scaled = self.item_vectors(items) / self._penalty()
        return (scaled @ features.transpose(1, 2)) * dual[:, None, :]

    def _posterior(self, support: Feedback) -> Tensor:
        """w_u, [B, F]."""
        features, dual = self._dual(support)
        return self.weights + torch.einsum("bs,bsf->bf", dual, features) / self._penalty()

    def _dual(self, support: Feedback) -> tuple[Tensor, Tensor]:
        """Features [B, S, F] and dual weights [B, S] of the support, both 0 where masked."""
        features = torch.where(support.mask[..., None], self.item_vectors(support.items), 0.0)
        error = torch.where(support.mask, support.values - features @ self.weights, 0.0)
        kernel = (features / self._penalty()) @ features.transpose(1, 2)
        kernel.diagonal(dim1=1, dim2=2).add_(1.0)
        return features, torch.cholesky_solve(error[..., None], torch.linalg.cholesky(kernel))[..., 0]

    def _penalty(self) -> Tensor:
        penalty = torch.full_like(self.weights, self.regularisation)
        penalty[0] = self.offset_regularisation
        return penalty


@dataclass(frozen=True, eq=False)
class ContentProfile:
    """Ranks items by how much their fields resemble those of the items chosen.

    With t_i the features of an item's fields, each weighted by how rare it is (TF-IDF) and the whole scaled
    to length 1, ``score(i) = cos(sum_{j in S} t_j, t_i)``; 0 before any event. An item's id plays no part.
    Every event counts as one choice. A State holds the sum, the profile.

    Attributes:
        rows: how fields become features.
        rarity: [F] float32, ``log((1 + n_items) / (1 + items with the feature))``; 0 for a feature of every
            item.

    Source: Lops, de Gemmis, Semeraro, "Content-based Recommender Systems: State of the Art and Trends", 2011,
    section 3.3.1.
    """

    rows: FieldRows
    rarity: Tensor
    scale: ClassVar[Scale] = "rank"

    @classmethod
    def fit(cls, dataset: Dataset) -> ContentProfile:
        """Counts the features of the catalogue.

        Raises:
            UserInputError: there is no event, or the items have no fields but text.
        """
        need_events(dataset, "Content")
        rows = _field_rows(dataset)
        catalogue = dataset.catalogue()
        numbers, weights = _distinct(*rows(catalogue.fields, catalogue.ids))
        present = torch.bincount(numbers[weights != 0], minlength=rows.n_features)
        return cls(rows, torch.log((1 + dataset.n_items) / (1 + present.float())))

    def adapt(self, support: Feedback) -> State:
        return self.update({"profile": self.rarity.new_zeros(support.n_users, len(self.rarity))}, support)

    def update(self, state: State, feedback: Feedback) -> State:
        numbers, weights = self._features(feedback.items)
        shown = torch.where(feedback.mask[..., None], weights, 0.0)
        at = torch.where(feedback.mask[..., None], numbers, 0)
        return {"profile": state["profile"].scatter_add(1, at.flatten(1), shown.flatten(1))}

    def score(self, state: State, items: Items) -> Tensor:
        return _products(self.user_vectors(state), *self._features(items))

    def user_vectors(self, state: State) -> Tensor:
        profile = state["profile"]
        return functional.normalize(profile, dim=1)

    def item_vectors(self, items: Items) -> Tensor:
        numbers, weights = self._features(items)
        dense = weights.new_zeros((*items.ids.shape, len(self.rarity)))
        return dense.scatter_add_(-1, numbers, weights)

    def contributions(self, support: Feedback, items: Items) -> Tensor:
        shown = torch.where(support.mask[..., None], self.item_vectors(support.items), 0.0)  # [B, S, F]
        length: Tensor = torch.linalg.vector_norm(shown.sum(1), dim=1).clamp(min=1e-12)
        products = self.item_vectors(items) @ shown.transpose(1, 2)  # [B, N, S]
        return products / length[:, None, None]

    def _features(self, items: Items) -> tuple[Tensor, Tensor]:
        """Numbers and weights of t, [..., K] each; an item without fields is all 0."""
        numbers, weights = _distinct(*self.rows(items.fields, items.ids))
        weights = weights * self.rarity[numbers]
        return numbers, functional.normalize(weights, dim=-1)


def _field_rows(dataset: Dataset) -> FieldRows:
    rows = FieldRows(dataset.items.schema)
    if rows.n_features == 1:
        raise UserInputError(
            f"Content needs fields of the items, such as a genre; {dataset.name!r} has none (text does not "
            "count). Read it with items=..., or use a recommender that needs no fields."
        )
    return rows


def _distinct(numbers: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The same features sorted, a value that a multi field repeats counted once; [..., K] each."""
    numbers, order = numbers.sort(-1)
    again = functional.pad(numbers[..., 1:] == numbers[..., :-1], (1, 0), value=False)
    return numbers, torch.where(again, 0.0, weights.gather(-1, order))


def _products(users: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
    """Dot products [B, N] of users [B, F] with the features [N, K] shared by all, or [B, N, K].

    A dense table of a large catalogue's features may take gigabytes, and nearly all of it is zero.
    """
    if numbers.dim() == 2:
        dots = torch.from_numpy(_sparse(numbers, weights, users.shape[1]) @ users.T.numpy())
        return dots.T.contiguous()
    return (users.gather(1, numbers.flatten(1)).view(numbers.shape) * weights).sum(-1)


def _sparse(numbers: Tensor, weights: Tensor, n_features: int) -> scipy.sparse.csr_matrix:
    """Features [n, n_features] float32 of n items with the given numbers and weights [n, K]."""
    n, k = numbers.shape
    offsets = k * torch.arange(n + 1)
    ragged = (weights.flatten().numpy(), numbers.flatten().numpy(), offsets.numpy())
    return scipy.sparse.csr_matrix(ragged, shape=(n, n_features))
