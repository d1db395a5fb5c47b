"""Exact retrieval equals a float64 scan, whatever the vectors; approximate retrieval says how good it is."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from acclimate.errors import UserInputError
from acclimate.serving.retrieval import ApproximateScan, ExactScan, FaissIndex, UsearchIndex
from acclimate.serving.retrieval.codes import Codes
from acclimate.serving.retrieval.plain import float64_scores


def reference(vectors, query, k, skip=None, allowed=None):
    """The k best of a plain float64 scan; equal scores in the order of rows."""
    free = np.ones(len(vectors), dtype=bool) if allowed is None else allowed.copy()
    if skip is not None:
        free[skip] = False
    rows = np.flatnonzero(free)
    scores = float64_scores(vectors[rows], query)
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def check(scan, query, k, skip=None, allowed=None):
    found = scan.top(query, k, skip=skip, allowed=allowed)
    rows, scores = reference(scan.vectors, query, k, skip, allowed)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)
    assert found.exact
    assert found.rows.dtype == np.int64
    assert found.scores.dtype == np.float64


def both(vectors):
    """The compiled scan and the plain one."""
    return ExactScan.build(vectors, compiled=True), ExactScan.build(vectors, compiled=False)


def normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


SHAPES = [
    *[(1, 1), (1, 64), (2, 7), (15, 8), (16, 16), (17, 17), (100, 1), (333, 3), (1000, 65), (4097, 64)],
    *[(3000, 128), (700, 200), (50, 600), (70000, 9)],
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_best_are_those_of_a_float64_scan(shape):
    rng = np.random.default_rng(hash(shape) % 1000)
    vectors = normal(rng, *shape)
    for scan in both(vectors):
        for k in (1, 10, 300):
            check(scan, normal(rng, shape[1]), k)


def test_more_than_there_are_gives_all():
    rng = np.random.default_rng(0)
    for scan in both(normal(rng, 40, 5)):
        query = normal(rng, 5)
        for k in (39, 40, 41, 10**9):
            check(scan, query, k)
            check(scan, query, k, skip=np.arange(0, 40, 3))


def columns(rng):
    """Base line and offset beside taste: one constant column, one that dominates."""
    vectors = 0.01 * normal(rng, 2000, 30)
    vectors[:, 3], vectors[:, 17] = 1.0, 100 * normal(rng, 2000)
    return vectors


def duplicates(rng):
    return normal(rng, 7, 12)[rng.integers(0, 7, 900)]


def spread(rng):
    """Norms from 1e-20 to 1e20."""
    return (normal(rng, 1500, 20) * 10.0 ** rng.uniform(-20, 20, (1500, 1))).astype(np.float32)


def outliers(rng):
    vectors = normal(rng, 1200, 24)
    vectors[rng.integers(0, 1200, 30), rng.integers(0, 24, 30)] *= np.float32(1e6)
    return vectors


def far_away(rng):
    """Items that differ in the last bits alone."""
    return (1e6 + normal(rng, 1000, 10)).astype(np.float32)


ADVERSARIAL = {
    "all equal": lambda rng: np.ones((500, 9), dtype=np.float32),
    "all zero": lambda rng: np.zeros((500, 9), dtype=np.float32),
    "half zero": lambda rng: normal(rng, 500, 9) * (np.arange(500) % 2)[:, None].astype(np.float32),
    "duplicates": duplicates,
    "columns": columns,
    "spread": spread,
    "outliers": outliers,
    "far away": far_away,
    "denormal": lambda rng: (normal(rng, 300, 5) * 1e-42).astype(np.float32),
    "near the largest float": lambda rng: (rng.uniform(-3.4, 3.4, (300, 5)) * 1e38).astype(np.float32),
    "one direction": lambda rng: normal(rng, 800, 1) @ normal(rng, 1, 11),
    "signs": lambda rng: np.sign(normal(rng, 3000, 16)),
    "integers": lambda rng: rng.integers(-2, 3, (3000, 6)).astype(np.float32),
    "negative zero": lambda rng: np.full((100, 3), -0.0, dtype=np.float32),
}


@pytest.mark.filterwarnings("error")
def test_scores_at_the_end_of_what_single_precision_holds_and_beyond_are_found():
    rng = np.random.default_rng(3)
    one = rng.uniform(1.2e19, 1.4e19, (500, 1)).astype(np.float32)
    # Sums that leave the range on their way to a score that is within it.
    two = (rng.uniform(-3, 3, (500, 3)) * 1e19).astype(np.float32)
    for vectors, query in ((one, [1.5e19]), (two, [3e19, -3e19, 3e19]), (two, [3e38, -3e38, 3e38])):
        for scan in both(vectors):
            check(scan, np.array(query, dtype=np.float32), 10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_adversarial_vectors_change_the_time_it_takes_and_nothing_else(kind):
    rng = np.random.default_rng(1)
    vectors = ADVERSARIAL[kind](rng)
    d = vectors.shape[1]
    queries = [
        normal(rng, d),
        np.zeros(d, dtype=np.float32),
        np.ones(d, dtype=np.float32),
        (normal(rng, d) * 1e30).astype(np.float32),
        (normal(rng, d) * 1e-40).astype(np.float32),
        np.eye(d, dtype=np.float32)[d // 2],
        vectors[-1],
    ]
    masks = [None, rng.random(len(vectors)) < 0.1]
    for scan in both(vectors):
        for query in queries:
            for allowed in masks:
                check(scan, query, 10, allowed=allowed)
        check(scan, queries[0], 3, skip=np.arange(5, 90))


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 0.999, 1.0])
def test_only_allowed_items_are_found(share):
    rng = np.random.default_rng(2)
    vectors, query = normal(rng, 5003, 33), normal(rng, 33)
    allowed = rng.random(5003) < share
    for scan in both(vectors):
        for k in (1, 10, 100):
            check(scan, query, k, allowed=allowed)
            check(scan, query, k, skip=rng.integers(0, 5003, 200), allowed=allowed)


@pytest.mark.parametrize("n_skipped", [0, 1, 2, 16, 500, 5003])
def test_skipped_items_are_not_found_even_if_they_are_the_best(n_skipped):
    rng = np.random.default_rng(3)
    vectors, query = normal(rng, 5003, 33), normal(rng, 33)
    order = np.argsort(-float64_scores(vectors, query))
    for scan in both(vectors):
        check(scan, query, 10, skip=order[:n_skipped])
        check(scan, query, 10, skip=rng.permutation(np.repeat(order[:n_skipped], 2)))


def test_skipped_rows_outside_the_catalogue_are_nobodys():
    rng = np.random.default_rng(4)
    vectors, query = normal(rng, 100, 8), normal(rng, 8)
    for scan in both(vectors):
        found = scan.top(query, 5, skip=np.array([-1, 100, 10**12, -(10**12), 3]))
        np.testing.assert_array_equal(found.rows, reference(vectors, query, 5, skip=[3])[0])


def test_what_a_skip_list_looked_like_stays_as_it_was():
    rng = np.random.default_rng(4)
    skip = np.array([7, 3, 5])
    for scan in both(normal(rng, 100, 8)):
        scan.top(normal(rng, 8), 5, skip=skip)
        assert skip.tolist() == [7, 3, 5]


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
tame = st.floats(-10, 10, width=32)
few = st.sampled_from([np.float32(x) for x in (-1, 0, 0.5, 1, 1e-30, 1e30)])


@settings(max_examples=300, deadline=None)
@given(data=st.data(), n=st.integers(1, 70), d=st.integers(1, 20), k=st.integers(1, 80))
def test_any_vectors_any_query_any_mask(data, n, d, k):
    kind = data.draw(st.sampled_from([numbers, tame, few]))
    vectors = data.draw(arrays.arrays(np.float32, (n, d), elements=kind))
    query = data.draw(arrays.arrays(np.float32, d, elements=data.draw(st.sampled_from([numbers, tame, few]))))
    skip = data.draw(st.none() | arrays.arrays(np.int64, st.integers(0, 5), elements=st.integers(0, n - 1)))
    allowed = data.draw(st.none() | arrays.arrays(np.bool_, n))
    for scan in both(vectors):
        check(scan, query, k, skip, allowed)


def test_equal_items_get_equal_scores_wherever_they_stand():
    rng = np.random.default_rng(5)
    item = normal(rng, 37)
    vectors = normal(rng, 999, 37)
    at = np.array([0, 15, 16, 500, 998])
    vectors[at] = item
    for scan in both(vectors):
        found = scan.top(item, 5)
        np.testing.assert_array_equal(found.rows, at)
        assert len(set(found.scores)) == 1


def test_scores_are_the_dot_products_to_the_last_digits():
    rng = np.random.default_rng(6)
    vectors, query = normal(rng, 200, 65), normal(rng, 65)
    exact = vectors.astype(np.longdouble) @ query.astype(np.longdouble)
    np.testing.assert_allclose(float64_scores(vectors, query), exact.astype(float), rtol=0, atol=1e-13)


def test_the_bound_holds_and_rules_out_almost_everything():
    rng = np.random.default_rng(7)
    for scale in (np.ones(40), np.exp(-np.arange(40) / 5)):
        vectors, query = (normal(rng, 4096, 40) * scale).astype(np.float32), normal(rng, 40)
        codes = Codes.of(vectors)
        packed = codes.codes.reshape(-1, 5, 16, 4)
        nibbles = np.stack([packed & 15, packed >> 4], 2).transpose(0, 3, 1, 2, 4).reshape(4096, 40)
        turned = codes.axes.T @ query
        scales = codes.scales.astype(np.float64)
        kept = query @ codes.centre + scales * ((nibbles - 7.5) @ turned)
        bound = scales * np.linalg.norm(turned) * codes.errors.repeat(16)
        lost = np.abs(float64_scores(vectors, query) - kept)
        assert (lost <= bound).all()
        assert lost.max() > 0.2 * bound.mean()  # the bound is not empty
        scores = np.sort(kept + lost)
        assert (kept + bound >= scores[-10]).mean() < 0.05


@pytest.fixture(scope="module")
def upper_bounds():
    """The compiled scan's bound of every item, as float64."""
    import numba

    from acclimate.serving.retrieval import kernel

    prepare, block_bounds = kernel.prepare, kernel.block_bounds

    @numba.njit
    def bounds_of(codes, scales, errors, centre, axes, length, reach, query):
        parts = (len(query) + 7) // 8
        wide, bytes_ = np.empty(len(query)), np.zeros(8 * parts, dtype=np.int8)
        at_centre, blur, unit, step, offset, norm, error = prepare(
            query, centre, axes, length, reach, wide, bytes_
        )
        one, out = np.empty(16, dtype=np.float32), np.empty(len(scales))
        for block in range(len(errors)):
            of_block = np.float32(norm * errors[block] + error)
            block_bounds(
                codes, bytes_, scales, block, parts, np.float32(offset), np.float32(step), of_block, one
            )
            out[16 * block : 16 * block + 16] = at_centre + blur + unit * one.astype(np.float64)
        return out

    def of(vectors, query):
        codes = Codes.of(vectors)
        arrays_ = (codes.codes, codes.scales, codes.errors, codes.centre, codes.axes)
        return bounds_of(*arrays_, codes.length, codes.reach, query)[: len(vectors)]

    return of


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_no_item_scores_above_its_bound(kind, upper_bounds):
    rng = np.random.default_rng(12)
    vectors = ADVERSARIAL[kind](rng)
    for scale in (1e-40, 1e-3, 1, 1e30):
        query = (normal(rng, vectors.shape[1]) * scale).astype(np.float32)
        scores = float64_scores(vectors, query)
        assert (scores <= upper_bounds(vectors, query) + 2.0**-50 * np.abs(scores)).all()


def test_no_item_scores_above_its_bound_where_every_rounding_goes_one_way(upper_bounds):
    # Corners of a cube: what the codes lose points the way of the query, and so does what bytes lose of it.
    corners = np.sign(normal(np.random.default_rng(13), 160, 600))
    vectors = np.concatenate([corners, -corners])
    for worst in (126.49, 100.49, 126.51):
        query = (corners[7] * worst).astype(np.float32)
        query[0] = corners[7, 0] * 127
        scores, bounds = float64_scores(vectors, query), upper_bounds(vectors, query)
        assert (scores <= bounds).all()
        assert bounds[7] < 1.01 * scores[7]


def test_codes_take_a_little_more_than_half_a_byte_a_dimension():
    codes = Codes.of(normal(np.random.default_rng(0), 1600, 64))
    assert codes.codes.nbytes == 1600 * 32
    assert codes.nbytes <= 1600 * (32 + 4 + 0.25)
    assert ExactScan.build(normal(np.random.default_rng(0), 1600, 64)).nbytes == codes.nbytes


def test_several_threads_get_what_one_gets():
    rng = np.random.default_rng(8)
    vectors, queries = normal(rng, 20000, 32), normal(rng, 200, 32)
    for scan in both(vectors):
        alone = [scan.top(query, 10).rows.tolist() for query in queries]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda q, s=scan: s.top(q, 10).rows.tolist(), np.tile(queries, (3, 1))))
        assert together == alone * 3


def test_without_numba_the_plain_scan_is_used(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    scan = ExactScan.build(normal(np.random.default_rng(0), 50, 4))
    assert scan.method == "float32 scan, rescored"
    check(scan, normal(np.random.default_rng(1), 4), 3)


OTHER_MACHINE = """
import numpy as np
from acclimate.serving.retrieval import ExactScan, kernel
assert kernel.instructions() == "{name}", kernel.instructions()
rng = np.random.default_rng(0)
for n, d in [(1, 1), (40, 9), (333, 64), (5000, 65)]:
    vectors = rng.normal(size=(n, d)).astype(np.float32)
    one, other = (ExactScan.build(vectors, compiled=compiled) for compiled in (True, False))
    for _ in range(20):
        query, allowed = rng.normal(size=d).astype(np.float32), rng.random(n) < 0.7
        a, b = (scan.top(query, 10, allowed=allowed) for scan in (one, other))
        assert a.rows.tolist() == b.rows.tolist() and a.scores.tolist() == b.scores.tolist()
print("same")
"""


@pytest.mark.parametrize(("name", "features"), [("portable", ""), pytest.param("avx2", "+avx2", id="avx2")])
def test_other_machines_find_the_same(name, features, tmp_path):
    from llvmlite import binding

    if features and not binding.get_host_cpu_features().get("avx2"):
        pytest.skip("this processor has no AVX2")
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    code = OTHER_MACHINE.replace("{name}", name)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "same\n", done.stderr


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch):
    import numba

    from acclimate.serving.retrieval import kernel

    asked = []

    def njit(signature, **options):
        asked.append(options)
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function 'scan': no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert kernel._compiled(len) is len
    assert len(asked) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    vectors = np.ones((30, 4), dtype=np.float32)
    vectors[[7, 9], 2] = bad
    with pytest.raises(UserInputError, match=r"2 of 30 are not, the first is row 7"):
        ExactScan.build(vectors)
    query = np.array([1, bad, 0, 0], dtype=np.float32)
    for scan in both(np.ones((30, 4), dtype=np.float32)):
        with pytest.raises(UserInputError, match="query must be finite"):
            scan.top(query, 3)
        check(scan, np.ones(4, dtype=np.float32), 3)


def test_shapes_that_do_not_fit_are_refused():
    for scan in both(np.ones((30, 4), dtype=np.float32)):
        with pytest.raises(UserInputError, match="k must be at least 1; found 0"):
            scan.top(np.ones(4, dtype=np.float32), 0)
        with pytest.raises(UserInputError, match="4 dimensions"):
            scan.top(np.ones(5, dtype=np.float32), 3)
        with pytest.raises(UserInputError, match="each of the 30 items"):
            scan.top(np.ones(4, dtype=np.float32), 3, allowed=np.ones(29, dtype=bool))
    with pytest.raises(UserInputError, match=r"found shape \[3, 0\]"):
        ExactScan.build(np.ones((3, 0), dtype=np.float32))
    with pytest.raises(UserInputError, match=r"found shape \[3\]"):
        ExactScan.build(np.ones(3, dtype=np.float32))


def test_an_empty_catalogue_has_no_best():
    scan = ExactScan.build(np.ones((0, 4), dtype=np.float32))
    assert scan.n_items == 0
    assert scan.top(np.ones(4, dtype=np.float32), 3).rows.tolist() == []


def test_other_kinds_of_arrays_are_taken():
    rng = np.random.default_rng(9)
    vectors = normal(rng, 60, 12)
    query = normal(rng, 6)
    vectors.setflags(write=False)
    query.setflags(write=False)
    for view in (
        vectors[:, ::2],
        vectors[::-1, :6],
        vectors[:, :6].astype(np.float64),
        vectors[:, :6].T.copy().T,
    ):
        for scan in both(view):
            check(scan, query, 7)
            check(scan, query.astype(np.float64), 7)
            check(scan, query, 7, skip=np.arange(scan.n_items // 2, dtype=np.int32)[::-2])
            check(scan, query, 7, allowed=np.arange(2 * scan.n_items)[::2] % 3 == 0)
            check(scan, query, 7, allowed=np.repeat(np.arange(scan.n_items) % 3 == 0, 2)[::2])
    shared = ExactScan.build(vectors)
    assert np.shares_memory(shared.vectors, vectors)
    check(shared, normal(rng, 12), 5)


@pytest.fixture(scope="module")
def clustered():
    """A catalogue in clusters, as catalogues are, and users near them."""
    rng = np.random.default_rng(10)
    centres = normal(rng, 60, 16)
    vectors = centres[rng.integers(0, 60, 6000)] + 0.4 * normal(rng, 6000, 16)
    vectors *= np.exp(0.3 * normal(rng, 6000, 1))
    queries = centres[rng.integers(0, 60, 120)] + 0.4 * normal(rng, 120, 16)
    return vectors, queries


@pytest.fixture(scope="module", params=[FaissIndex, UsearchIndex])
def approximate(request, clustered):
    vectors, queries = clustered
    return ApproximateScan.build(vectors, queries[:60], index=request.param(vectors), recall=0.9)


def test_the_recall_it_reports_is_the_recall_others_get(approximate, clustered):
    vectors, queries = clustered
    hits = []
    for query in queries[60:]:
        found = approximate.top(query, 10)
        assert not found.exact
        assert (np.diff(found.scores) <= 0).all()
        np.testing.assert_array_equal(found.scores, float64_scores(vectors[found.rows], query))
        hits.append(len(np.intersect1d(found.rows, reference(vectors, query, 10)[0])) / 10)
    assert approximate.recall >= 0.9
    assert abs(np.mean(hits) - approximate.recall) < 0.06
    assert approximate.method == f"{approximate.index.name}, recall@10 {approximate.recall:.2f}"
    assert approximate.n_items == 6000


def test_approximate_search_looks_harder_for_more_recall(clustered):
    vectors, queries = clustered
    index = FaissIndex(vectors)
    low, high = (ApproximateScan.build(vectors, queries, index=index, recall=r) for r in (0.3, 1.0))
    assert low.effort < high.effort
    assert low.recall < high.recall
    assert high.recall > 0.99


def test_approximate_search_honours_skip_and_allowed(approximate, clustered):
    vectors, queries = clustered
    allowed = np.random.default_rng(0).random(6000) < 0.3
    for query in queries[:20]:
        best = reference(vectors, query, 40)[0]
        found = approximate.top(query, 10, skip=best, allowed=allowed)
        assert len(found.rows) == len(set(found.rows)) == 10
        assert allowed[found.rows].all()
        assert not np.isin(found.rows, best).any()


def test_where_too_few_are_left_the_exact_scan_answers(approximate, clustered):
    vectors, queries = clustered
    allowed = np.zeros(6000, dtype=bool)
    allowed[[17, 4000, 5999]] = True
    for k, left in ((3, allowed), (10, allowed), (10, np.zeros(6000, dtype=bool))):
        found = approximate.top(queries[0], k, allowed=left)
        np.testing.assert_array_equal(found.rows, reference(vectors, queries[0], k, allowed=left)[0])
        assert found.exact


def test_approximate_search_refuses_what_is_not_finite_and_wants_a_sample(approximate, clustered):
    vectors, queries = clustered
    with pytest.raises(UserInputError, match="query must be finite"):
        approximate.top(np.full(16, np.nan, dtype=np.float32), 3)
    with pytest.raises(UserInputError, match="User vectors must be finite"):
        ApproximateScan.build(vectors, np.full((3, 16), np.inf, dtype=np.float32))
    with pytest.raises(UserInputError, match="found 6000 and 0"):
        ApproximateScan.build(vectors, queries[:0])


@pytest.mark.parametrize(("index", "package"), [(FaissIndex, "faiss"), (UsearchIndex, "usearch")])
def test_a_missing_package_is_named_with_what_to_do(index, package, monkeypatch):
    for name in ("faiss", "usearch.index"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserInputError, match=rf"needs {package}\. Install it: .*acclimate\[ann\]"):
        index(np.ones((10, 2), dtype=np.float32))


def test_tiny_catalogues_and_huge_numbers_go_into_an_index():
    rng = np.random.default_rng(11)
    for vectors in (normal(rng, 1, 3), normal(rng, 12, 1), (normal(rng, 50, 4) * 1e30).astype(np.float32)):
        for index in (FaissIndex, UsearchIndex):
            scan = ApproximateScan.build(vectors, vectors[:5], index=index(vectors), k=1)
            assert len(scan.top(vectors[0], 4).rows) == min(4, len(vectors))
