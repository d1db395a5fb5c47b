"""Beyond accuracy: whether lists reach into the catalogue, surprise, vary, and whom popularity serves."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import polars as pl
import scipy.sparse
import torch
from torch import Tensor

from acclimate.data import Dataset
from acclimate.errors import UserInputError
from acclimate.evaluation.evaluate import Report

Likeness = Literal["events", "fields"]

# Rows of lists whose vectors are summed at once: few, for a popular item's vector is as long as its users.
_ROWS = 256


def beyond_accuracy(
    report: Report, train: Dataset, *, k: int = 10, likeness: Likeness = "events"
) -> pl.DataFrame:
    """What a report's lists are like, beside how often they hit.

    - ``coverage@k``: share of the catalogue that stands in anybody's first k places. It grows with the number
      of users; compare it on the same tasks only.
    - ``novelty@k``: mean self-information of the recommended items in bits, ``-log2((events_i + 1) / (E +
      N))`` with E training events on N items, so that an item nobody has touched is as novel as can be, not
      infinite (Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS
      2010).
    - ``diversity@k``: 1 minus the mean cosine of two items of a list (Ziegler et al., "Improving
      recommendation lists through topic diversification", WWW 2005).
    - ``popularity@k``: mean popularity percentile of the recommended items: 1 for the item with most training
      events, 0.5 for chance, ties at their middle.

    Args:
        report: of an evaluation with a ranking metric that reads at least k places.
        train: what the recommender was fitted on; its catalogue is the report's.
        likeness: what makes two items alike: ``events``, chosen by the same training users, or ``fields``,
            sharing values of categorical and multi fields (which also serves items without events).

    Returns:
        A row for each number of shots: ``shots``, the four columns, and ``n``, the lists.

    Raises:
        UserInputError: the lists are shorter than k, or there is nothing to compare items by.
    """
    if report.lists.shape[1] < k:
        raise UserInputError(
            f"The report keeps the first {report.lists.shape[1]} places; beyond_accuracy(k={k}) needs {k}. "
            f"Evaluate with a ranking metric such as ndcg@{k}."
        )
    lists = report.lists[:, :k]
    real = lists >= 0
    safe = lists.clamp(min=0)
    counts = train.interactions.item_counts().double()
    information = -torch.log2((counts + 1) / (counts.sum() + train.n_items))
    novelty = _mean(information[safe], real)
    popularity = _mean(percentile(counts)[safe], real)
    diversity = _diversity(lists, item_vectors(train, likeness))
    shots = report.frame["shots"].to_numpy()
    rows = []
    for level in report.frame["shots"].unique(maintain_order=True):
        mine = torch.from_numpy(np.isnan(shots) if level is None else shots == level)
        shown = lists[mine]
        rows.append(
            {
                "shots": level,
                f"coverage@{k}": _seen(shown, train.n_items) / train.n_items,
                f"novelty@{k}": float(novelty[mine].nanmean()),
                f"diversity@{k}": float(diversity[mine].nanmean()),
                f"popularity@{k}": float(popularity[mine].nanmean()),
                "n": int(mine.sum()),
            }
        )
    return pl.DataFrame(rows, schema_overrides={"shots": pl.Int64})


def percentile(counts: Tensor) -> Tensor:
    """Share [N] of the other items with fewer events, ties counting half: 0 least popular, 1 most."""
    ordered = counts.sort().values
    below = torch.searchsorted(ordered, counts)
    upto = torch.searchsorted(ordered, counts, right=True)
    return (below + upto - 1).double() / 2 / max(1, len(counts) - 1)


def item_vectors(train: Dataset, likeness: Likeness) -> scipy.sparse.csr_matrix:
    """Items as unit vectors [N, D], sparse; zero where nothing is known of an item."""
    if likeness == "events":
        users = train.interactions.users().numpy()
        rows, columns = train.interactions.items.numpy(), users
        width = train.n_users
    else:
        parts, width = [], 0
        for spec in train.items.schema:
            if spec.kind not in ("categorical", "multi"):
                continue
            codes = train.items.columns[spec.name].reshape(train.n_items, -1)
            item, place = (codes > 0).nonzero(as_tuple=True)
            parts.append((item.numpy(), (codes[item, place] - 1 + width).numpy()))
            width += len(spec.values)
        if not parts:
            raise UserInputError(
                f"The items of {train.name!r} have no categorical or multi field to compare them by; "
                "use likeness='events'."
            )
        rows = np.concatenate([part[0] for part in parts])
        columns = np.concatenate([part[1] for part in parts])
    ones = np.ones(len(rows))
    matrix = scipy.sparse.coo_matrix((ones, (rows, columns)), shape=(train.n_items, max(1, width))).tocsr()
    matrix.data[:] = 1.0  # a repeated event makes no likeness
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    return scipy.sparse.diags_array(scale).tocsr() @ matrix


def _seen(lists: Tensor, n_items: int) -> int:
    """How many different items stand in the lists."""
    return int((torch.bincount(lists[lists >= 0], minlength=n_items) > 0).sum())


def _diversity(lists: Tensor, vectors: scipy.sparse.csr_matrix) -> Tensor:
    """1 - the mean cosine over pairs [R], NaN for lists of fewer than two items.

    With unit vectors v and their sum s, the pairs sum to ``(|s|^2 - sum |v|^2) / 2``: no pair is ever formed.
    """
    out = []
    length = np.asarray(vectors.multiply(vectors).sum(1)).ravel()
    for chunk in torch.split(lists, _ROWS):
        row, place = (chunk >= 0).nonzero(as_tuple=True)
        item = chunk[row, place].numpy()
        pick = scipy.sparse.coo_matrix(
            (np.ones(len(item)), (row.numpy(), item)), (len(chunk), vectors.shape[0])
        )
        total = pick.tocsr() @ vectors
        square = np.asarray(total.multiply(total).sum(1)).ravel()
        own = np.bincount(row.numpy(), weights=length[item], minlength=len(chunk))
        n = (chunk >= 0).sum(1).double()
        pairs = n * (n - 1)
        cosine = torch.from_numpy(square - own) / pairs.clamp(min=1)
        out.append(torch.where(pairs > 0, 1 - cosine, math.nan))
    return torch.cat(out)


def _mean(values: Tensor, real: Tensor) -> Tensor:
    """Mean over the real entries of each row [R], NaN where there are none."""
    n = real.sum(1)
    return torch.where(n > 0, torch.where(real, values, 0.0).sum(1) / n.clamp(min=1), math.nan)
