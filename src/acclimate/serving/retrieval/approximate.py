"""Approximate search, for catalogues too large to scan, with its recall measured where it is used."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import UserInputError
from acclimate.serving.retrieval.base import Found
from acclimate.serving.retrieval.checks import check_query, check_vectors, refuse_query
from acclimate.serving.retrieval.exact import ExactScan
from acclimate.serving.retrieval.plain import best, float64_scores

_SPARE = 3
"""Candidates fetched for each place of the list: what an index ranks roughly is ranked again exactly."""


class Index(Protocol):
    """Finds rows whose dot product with a query is probably high; safe for several threads."""

    @property
    def name(self) -> str: ...

    @property
    def most_effort(self) -> int:
        """From where on more effort is of no use."""
        ...

    def search(self, query: NDArray[np.float32], n: int, effort: int) -> NDArray[np.int64]:
        """Up to n different rows; more effort finds better ones and takes longer."""
        ...


class FaissIndex:
    """An inverted file over clusters of items, a byte a dimension; quick to build. Effort: clusters seen."""

    name = "faiss"

    def __init__(self, vectors: NDArray[np.float32], *, clusters: int | None = None, seed: int = 0) -> None:
        """Clusters item vectors [N, D].

        Args:
            clusters: how many; None takes 4 sqrt(N), or fewer where items are few.
        """
        try:
            import faiss
        except ImportError as error:
            raise _missing("faiss") from error
        n, d = vectors.shape
        if clusters is None:
            clusters = max(1, min(int(4 * n**0.5), n // 40))
        self._faiss: Any = faiss
        coarse = faiss.IndexFlatIP(d)
        index: Any = faiss.IndexIVFScalarQuantizer(
            coarse, d, clusters, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = seed
        index.cp.min_points_per_centroid = 1
        scaled = _of_norm_one(vectors)
        index.train(scaled)
        index.add(scaled)
        self._coarse, self._index = coarse, index
        self.most_effort = clusters

    def search(self, query: NDArray[np.float32], n: int, effort: int) -> NDArray[np.int64]:
        parameters = self._faiss.SearchParametersIVF(nprobe=min(effort, self.most_effort))
        _, rows = self._index.search(query[None], n, params=parameters)
        found: NDArray[np.int64] = rows[0][rows[0] >= 0]
        return found


class UsearchIndex:
    """A graph of near items; slow to build, quick to ask. Effort: how many items a search keeps in view.

    Graphs need a distance. With one more coordinate, ``sqrt(max |v|^2 - |v_i|^2)`` for items and 0 for a
    query, the items nearest to the query are those with the highest dot product.

    Source: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
    inner-product spaces", RecSys 2014, section 3.
    """

    name = "usearch"

    def __init__(self, vectors: NDArray[np.float32], *, connectivity: int = 16, expansion: int = 128) -> None:
        """Links item vectors [N, D].

        Args:
            connectivity: links of an item. expansion: items kept in view while linking.
        """
        try:
            from usearch.index import Index as Graph
        except ImportError as error:
            raise _missing("usearch") from error
        n, d = vectors.shape
        scaled = _of_norm_one(vectors)
        height = np.sqrt(np.maximum(0, 1 - np.square(scaled).sum(1, keepdims=True)))
        self._graph: Any = Graph(
            ndim=d + 1, metric="l2sq", dtype="f32", connectivity=connectivity, expansion_add=expansion
        )
        self._graph.add(np.arange(n), np.concatenate([scaled, height], 1), threads=1)
        # Its effort is a setting of the graph, not of a search.
        self._lock = threading.Lock()
        self.most_effort = n

    def search(self, query: NDArray[np.float32], n: int, effort: int) -> NDArray[np.int64]:
        norm = float(np.linalg.norm(query.astype(np.float64)))
        point = np.zeros(len(query) + 1, dtype=np.float32)
        point[:-1] = query / (norm or 1.0)
        with self._lock:
            self._graph.expansion_search = max(effort, n)
            keys = self._graph.search(point, n, threads=1).keys
        return np.asarray(keys).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ApproximateScan:
    """A catalogue that answers quickly and almost always rightly; build it with :meth:`build`.

    What the index finds is scored in float64 and ranked exactly. Where ``skip`` and ``allowed`` leave fewer
    than k of what it finds, more is fetched, and in the end the exact scan answers.

    Attributes:
        index: what finds candidates. effort: how hard it looks.
        exact: the exact scan of the same vectors.
        recall: share of the exact top ``measured_at`` that it found, over the sample of queries.
    """

    index: Index
    effort: int
    exact: ExactScan
    recall: float
    measured_at: int

    @classmethod
    def build(
        cls,
        vectors: NDArray[np.float32],
        queries: NDArray[np.float32],
        *,
        index: Index | None = None,
        recall: float = 0.95,
        k: int = 10,
    ) -> ApproximateScan:
        """Builds an index, and doubles its effort until the recall is reached or effort is of no more use.

        Args:
            vectors: [N, D]. queries: [Q, D], vectors of users as they will ask; a few hundred.
            index: of these vectors; None makes a :class:`FaissIndex`.
            recall: the share of the exact top k to be found, 0 to 1.

        Raises:
            UserInputError: vectors or queries are not finite, or there are none.
        """
        vectors, queries = check_vectors(vectors), check_vectors(queries, "User vectors")
        if not len(vectors) or not len(queries):
            raise UserInputError(
                f"Approximate search needs items and a sample of user vectors; found {len(vectors)} and "
                f"{len(queries)}."
            )
        exact = ExactScan.build(vectors)
        index = FaissIndex(vectors) if index is None else index
        wanted = [exact.top(query, k).rows for query in queries]
        effort = 1
        while True:
            scan = cls(index, effort, exact, 0.0, k)
            hits = [
                len(np.intersect1d(rows, scan._found(query, k, None, None)[0])) / len(rows)
                for rows, query in zip(wanted, queries, strict=True)
            ]
            measured = float(np.mean(hits))
            if measured >= recall or effort >= index.most_effort:
                return cls(index, effort, exact, measured, k)
            effort = min(2 * effort, index.most_effort)

    @property
    def n_items(self) -> int:
        return self.exact.n_items

    @property
    def method(self) -> str:
        return f"{self.index.name}, recall@{self.measured_at} {self.recall:.2f}"

    def top(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        skip: NDArray[np.int64] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Found:
        """As :meth:`Scan.top <acclimate.serving.retrieval.base.Scan.top>`.

        Raises:
            UserInputError: the query is not finite, a shape is wrong, or k is below 1.
        """
        query = check_query(query, k, self.exact.vectors.shape, allowed)
        if not np.isfinite(query).all():
            refuse_query()
        rows, scores = self._found(query, k, skip, allowed)
        if len(rows) < k:
            return self.exact.top(query, k, skip=skip, allowed=allowed)
        return Found(rows, scores, exact=False)

    def _found(
        self,
        query: NDArray[np.float32],
        k: int,
        skip: NDArray[np.int64] | None,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The best of what the index finds; fewer than k if it does not find enough."""
        n = self.n_items
        fetch = _SPARE * k + (0 if skip is None else len(skip))
        effort = self.effort
        while True:
            # Beyond a tenth of the catalogue the exact scan is the quicker one.
            fetch = min(fetch, n)
            rows = self.index.search(query, fetch, effort)
            if skip is not None:
                rows = rows[~np.isin(rows, skip)]
            if allowed is not None:
                rows = rows[allowed[rows]]
            if len(rows) >= min(k, n) or 4 * fetch > n // 10:
                break
            fetch, effort = 4 * fetch, min(4 * effort, self.index.most_effort)
        return best(rows, float64_scores(self.exact.vectors[rows], query), k)


def _of_norm_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors, in units of the longest of them."""
    largest = float(np.abs(vectors).max()) or 1.0
    scaled = vectors / np.float32(largest)
    norm = float(np.sqrt(np.square(scaled).sum(1).max()))
    return (scaled / np.float32(norm or 1.0)).astype(np.float32, copy=False)


def _missing(package: str) -> UserInputError:
    return UserInputError(f"Approximate search needs {package}. Install it: pip install 'acclimate[ann]'.")
