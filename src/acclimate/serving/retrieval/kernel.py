"""The compiled scan: four-bit bounds for every item, float64 scores for those that they cannot rule out.

Numba compiles it on first use and keeps the result on disk. The inner loop is written in LLVM's language,
since no compiler finds it by itself: 16 items at a time, one instruction for 64 products of a nibble with a
byte (``vpdpbusd``), where the processor has it.

Layout of the codes: 16 items make a block; its byte ``[j, i, r]`` holds dimension ``8 j + r`` of item ``i``
in the low nibble and dimension ``8 j + 4 + r`` in the high one, j < D' / 8, i < 16, r < 4.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.core.cgutils
import numba.core.config
import numba.extending
import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types

# Numba's own annotations are partial.
cgutils: Any = numba.core.cgutils
config: Any = numba.core.config
intrinsic: Any = numba.extending.intrinsic

LANES = 16
_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
_F32, _F64 = ir.FloatType(), ir.DoubleType()
_LANES_I32, _LANES_F32 = ir.VectorType(_I32, LANES), ir.VectorType(_F32, LANES)
_BYTES = ir.VectorType(_I8, 64)


def instructions() -> str:
    """What multiplies bytes on this machine, or on the one that Numba was told to compile for."""
    if config.CPU_NAME or config.CPU_FEATURES:
        features = {name.removeprefix("+"): True for name in (config.CPU_FEATURES or "").split(",")}
    else:
        features = binding.get_host_cpu_features()
    if features.get("avx512vnni") and features.get("avx512bw"):
        return "avx512vnni"
    return "avx2" if features.get("avx2") else "portable"


_INSTRUCTIONS = instructions()


def _splat(builder: Any, scalar: Any, n: int) -> Any:
    """A vector of n copies."""
    kind = ir.VectorType(scalar.type, n)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, n), [0] * n)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _shuffle(builder: Any, vector: Any, index: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(_I32, len(index)), index)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def _address(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Where an array's entries begin.

    The array itself is the argument of every intrinsic: Numba frees an array after its last use, and does not
    count a use of its address.
    """
    return builder.ptrtoint(context.make_array(kind)(context, builder, array).data, _I64)


def _highest(builder: Any, vector: Any) -> Any:
    """The largest entry of a vector [16] of float32."""
    for width in (8, 4, 2, 1):
        halves = [_shuffle(builder, vector, list(range(a, a + width))) for a in (0, width)]
        vector = builder.select(builder.fcmp_ordered(">", *halves), *halves)
    return builder.extract_element(vector, _I32(0))


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _multiply(builder: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    """``sums[i] + sum_r unsigned[4 i + r] signed[4 i + r]``, i < 16, r < 4; unsigned numbers below 16."""
    if _INSTRUCTIONS == "avx512vnni":
        dot = _function(builder, "llvm.x86.avx512.vpdpbusd.512", _LANES_I32, [_LANES_I32] * 3)
        parts = [builder.bitcast(x, _LANES_I32) for x in (unsigned, signed)]
        return builder.call(dot, [sums, *parts])
    if _INSTRUCTIONS == "avx2":
        half, words, longs = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)
        pairs = _function(builder, "llvm.x86.avx2.pmadd.ub.sw", words, [half, half])
        fours = _function(builder, "llvm.x86.avx2.pmadd.wd", longs, [words, words])
        found = []
        for start in (0, 32):  # two products of a nibble with a byte stay below 2^15
            index = list(range(start, start + 32))
            twos = builder.call(pairs, [_shuffle(builder, unsigned, index), _shuffle(builder, signed, index)])
            found.append(builder.call(fours, [twos, ir.Constant(words, [1] * 16)]))
        index = ir.Constant(ir.VectorType(_I32, 16), list(range(16)))
        return builder.add(sums, builder.shuffle_vector(found[0], found[1], index))
    # Two products of a nibble with a byte fit into 16 bits: even and odd bytes apart, then pairs together.
    words, eight = ir.VectorType(_I16, 32), ir.Constant(ir.VectorType(_I16, 32), [8] * 32)
    u, v = builder.bitcast(unsigned, words), builder.bitcast(signed, words)
    even = builder.mul(
        builder.and_(u, ir.Constant(words, [255] * 32)), builder.ashr(builder.shl(v, eight), eight)
    )
    odd = builder.mul(builder.lshr(u, eight), builder.ashr(v, eight))
    both = builder.bitcast(builder.add(even, odd), _LANES_I32)
    half = ir.Constant(_LANES_I32, [16] * LANES)
    sums = builder.add(sums, builder.ashr(builder.shl(both, half), half))
    return builder.add(sums, builder.ashr(both, half))


@intrinsic  # type: ignore[untyped-decorator]
def block_bounds(
    typing_context: Any,
    codes: Any,
    bytes_: Any,
    scales: Any,
    block: Any,
    n_parts: Any,
    offset: Any,
    step: Any,
    error: Any,
    out: Any,
) -> Any:
    """Upper bounds ``scale (step (codes . bytes + offset) + error)`` of a block's items, into ``out`` [16].

    Args:
        n_parts: D' / 8.

    Returns:
        The highest of them.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = [_address(context, builder, signature.args[i], arguments[i]) for i in (0, 1, 2, 8)]
        block, n_parts, offset, step, error = arguments[3:8]
        code_at, byte_at, scale_at, out_at = places
        code_at = builder.add(code_at, builder.mul(block, builder.mul(n_parts, _I64(64))))
        scale_at = builder.add(scale_at, builder.mul(block, _I64(4 * LANES)))
        low = cgutils.alloca_once(builder, _LANES_I32)
        high = cgutils.alloca_once(builder, _LANES_I32)
        zero = ir.Constant(_LANES_I32, None)
        builder.store(zero, low)
        builder.store(zero, high)
        nibble = ir.Constant(_BYTES, [15] * 64)
        four = ir.Constant(_BYTES, [4] * 64)
        with cgutils.for_range(builder, n_parts) as loop:
            packed = _load(builder, builder.add(code_at, builder.mul(loop.index, _I64(64))), _BYTES, 1)
            at = builder.add(byte_at, builder.mul(loop.index, _I64(8)))
            for sums, values, where in (
                (low, builder.and_(packed, nibble), at),
                (high, builder.and_(builder.lshr(packed, four), nibble), builder.add(at, _I64(4))),
            ):
                signed = builder.bitcast(_splat(builder, _load(builder, where, _I32, 1), 16), _BYTES)
                builder.store(_multiply(builder, builder.load(sums), values, signed), sums)
        dots = builder.sitofp(builder.add(builder.load(low), builder.load(high)), _LANES_F32)
        centred = builder.fmul(
            builder.fadd(dots, _splat(builder, offset, LANES)), _splat(builder, step, LANES)
        )
        bounds = builder.fmul(
            builder.fadd(centred, _splat(builder, error, LANES)), _load(builder, scale_at, _LANES_F32, 4)
        )
        builder.store(bounds, builder.inttoptr(out_at, _LANES_F32.as_pointer()), align=4)
        return _highest(builder, bounds)

    f, i = types.float32, types.int64
    return f(codes, bytes_, scales, i, i, f, f, f, out), generate


@intrinsic  # type: ignore[untyped-decorator]
def keep_allowed(typing_context: Any, bounds: Any, allowed: Any, start: Any) -> Any:
    """Lowers those of 16 bounds to -inf that ``allowed[start:]`` rules out; the highest of the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bound_at, mask_at = (_address(context, builder, signature.args[i], arguments[i]) for i in (0, 1))
        kind = ir.VectorType(_I8, LANES)
        mask = _load(builder, builder.add(mask_at, arguments[2]), kind, 1)
        kept = builder.icmp_unsigned("!=", mask, ir.Constant(kind, None))
        lowest = ir.Constant(_LANES_F32, [float("-inf")] * LANES)
        left = builder.select(kept, _load(builder, bound_at, _LANES_F32, 4), lowest)
        builder.store(left, builder.inttoptr(bound_at, _LANES_F32.as_pointer()), align=4)
        return _highest(builder, left)

    return types.float32(bounds, allowed, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def wide_dot(typing_context: Any, vectors: Any, row: Any, query: Any, d: Any) -> Any:
    """The dot product of row ``row`` of float32 vectors [N, d] with a float64 query [d], in eight chains.

    The order of summation is that of :func:`~acclimate.serving.retrieval.plain.float64_scores`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, query = (_address(context, builder, signature.args[i], arguments[i]) for i in (0, 2))
        row, d = arguments[1], arguments[3]
        vector = builder.add(vector, builder.mul(row, builder.mul(d, _I64(4))))
        floats, doubles = ir.VectorType(_F32, 8), ir.VectorType(_F64, 8)
        sums = cgutils.alloca_once(builder, doubles)
        builder.store(ir.Constant(doubles, None), sums)
        whole = builder.sdiv(d, _I64(8))
        with cgutils.for_range(builder, whole) as loop:
            at = builder.add(vector, builder.mul(loop.index, _I64(32)))
            v = builder.fpext(_load(builder, at, floats, 4), doubles)
            q = _load(builder, builder.add(query, builder.mul(loop.index, _I64(64))), doubles, 8)
            builder.store(builder.fadd(builder.load(sums), builder.fmul(v, q)), sums)
        done = builder.mul(whole, _I64(8))
        with cgutils.for_range(builder, builder.sub(d, done)) as loop:
            at = builder.add(done, loop.index)
            v = builder.fpext(_load(builder, builder.add(vector, builder.mul(at, _I64(4))), _F32, 4), _F64)
            q = _load(builder, builder.add(query, builder.mul(at, _I64(8))), _F64, 8)
            chain = builder.trunc(loop.index, _I32)
            all_sums = builder.load(sums)
            one = builder.fadd(builder.extract_element(all_sums, chain), builder.fmul(v, q))
            builder.store(builder.insert_element(all_sums, one, chain), sums)
        total = builder.load(sums)
        for width in (4, 2, 1):
            halves = [_shuffle(builder, total, list(range(a, a + width))) for a in (0, width)]
            total = builder.fadd(*halves)
        return builder.extract_element(total, _I32(0))

    i = types.int64
    return types.float64(vectors, i, query, i), generate


@numba.njit(nogil=True)
def _worse(score: float, row: int, other: float, other_row: int) -> bool:
    return score < other or (score == other and row > other_row)


@numba.njit(nogil=True)
def _sift_down(scores: Any, rows: Any, n: int) -> None:
    """Restores the heap, the worst on top, after its top was replaced."""
    at = 0
    score, row = scores[0], rows[0]
    while True:
        child = 2 * at + 1
        if child >= n:
            break
        if child + 1 < n and _worse(scores[child + 1], rows[child + 1], scores[child], rows[child]):
            child += 1
        if not _worse(scores[child], rows[child], score, row):
            break
        scores[at], rows[at] = scores[child], rows[child]
        at = child
    scores[at], rows[at] = score, row


@numba.njit(nogil=True)
def _offer(scores: Any, rows: Any, n: int, score: float, row: int) -> int:
    """Puts a candidate into the heap of the best; how many it holds then."""
    if n == len(scores):
        if _worse(scores[0], rows[0], score, row):
            scores[0], rows[0] = score, row
            _sift_down(scores, rows, n)
        return n
    at = n
    while at > 0:
        parent = (at - 1) // 2
        if not _worse(score, row, scores[parent], rows[parent]):
            break
        scores[at], rows[at] = scores[parent], rows[parent]
        at = parent
    scores[at], rows[at] = score, row
    return n + 1


@numba.njit(nogil=True)
def _is_in(row: int, ordered: Any) -> bool:
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low < len(ordered) and ordered[low] == row


@numba.njit(nogil=True)
def prepare(
    query: Any, centre: Any, axes: Any, length: float, reach: float, wide: Any, bytes_: Any
) -> tuple[float, ...]:
    """Turns a query to the axes of the codes and rounds it to bytes.

    An item of scale g whose block has the error e scores at most

        at_centre + blur + unit g (step (codes . bytes + offset) + norm e + error)

    rounding of every kind included, up to a relative 2^-50 of the score itself.

    Args:
        wide: [D] float64, filled with the query. bytes_: [D'] int8, zeros, filled.

    Returns:
        ``(at_centre, blur, unit, step, offset, norm, error)``; at_centre is NaN where q is not finite.
    """
    d = len(query)
    turned = np.zeros(d, dtype=np.float64)
    at_centre = centre_square = query_square = 0.0
    for i in range(d):
        q = np.float64(query[i])
        if not np.isfinite(q):
            return np.nan, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0
        wide[i] = q
        at_centre += q * centre[i]
        centre_square += centre[i] * centre[i]
        query_square += q * q
        for j in range(d):
            turned[j] += q * axes[i, j]
    query_norm = np.sqrt(query_square)
    # Rounding in double precision, of what does not depend on an item and of what does, generously.
    blur = (d + 16) * 2.0**-46 * query_norm * np.sqrt(centre_square)
    item_blur = (d + 16) * 2.0**-45 * query_norm * reach * length
    largest = 0.0
    for j in range(d):
        largest = max(largest, abs(turned[j]))
    unit = max(largest, (d + 16) * 2.0**-40 * query_norm * reach)
    if unit == 0.0:
        unit = 1.0
    step = np.float64(np.float32(max(largest / unit, 1e-6) / 127.0))
    square = rest = 0.0
    total = 0
    for j in range(d):
        p = turned[j] / unit
        b = min(max(round(p / step), -127), 127)
        bytes_[j] = b
        total += int(b)
        square += p * p
        rest += (p - step * b) ** 2
    norm = np.sqrt(square) * (1.0 + 2.0**-20)
    # What the bytes leave out of p, rounding in single precision, rounding in double precision.
    single = 2.0**-18 * norm * (length + 8.0 * np.sqrt(np.float64(d)))
    error = (np.sqrt(rest) * length + single + item_blur / unit) * (1.0 + 2.0**-20)
    return at_centre, blur, unit, step, -7.5 * total, norm, error


def _input(kind: Any, dimensions: int) -> Any:
    return types.Array(kind, dimensions, "C", readonly=True)  # takes arrays that can be written to as well


_SIGNATURE = types.int64(
    _input(types.float32, 2),
    _input(types.uint8, 1),
    _input(types.float32, 1),
    _input(types.float32, 1),
    _input(types.float64, 1),
    _input(types.float64, 2),
    types.float64,
    types.float64,
    _input(types.float32, 1),
    _input(types.int64, 1),
    _input(types.bool_, 1),
    types.Array(types.float32, 1, "C"),
    types.Array(types.int64, 1, "C"),
    types.Array(types.float64, 1, "C"),
)


def _compiled(function: Any) -> Any:
    """Compiled now, or taken from the cache of an earlier time."""
    try:
        return numba.njit(_SIGNATURE, nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep it
        return numba.njit(_SIGNATURE, nogil=True)(function)


@_compiled
def scan(  # noqa: PLR0912, PLR0915 - one function, since a call from Python costs as much as 500 items
    vectors: Any,
    codes: Any,
    scales: Any,
    errors: Any,
    centre: Any,
    axes: Any,
    length: float,
    reach: float,
    query: Any,
    skip: Any,
    allowed: Any,
    scratch: Any,
    rows: Any,
    scores: Any,
) -> int:
    """The best items, best first, to ``rows`` and ``scores`` [k]; how many, or -1 if q is not finite.

    Args:
        skip: rows to leave out, in order. allowed: [N], or empty where all are.
        scratch: [blocks] float32, for the highest bound of each block.
    """
    n, d = vectors.shape
    k, n_blocks = len(rows), len(errors)
    n_parts = (d + 7) // 8

    wide = np.empty(d, dtype=np.float64)
    bytes_ = np.zeros(8 * n_parts, dtype=np.int8)
    at_centre, blur, unit, wide_step, wide_offset, norm, error_of_all = prepare(
        query, centre, axes, length, reach, wide, bytes_
    )
    if np.isnan(at_centre):
        return -1
    step, offset = np.float32(wide_step), np.float32(wide_offset)

    # First pass: the highest bound of every block, and the k blocks where it is highest.
    bounds = np.empty(LANES, dtype=np.float32)
    n_first = min(k, n_blocks)
    first = np.empty(n_first, dtype=np.int64)
    first_bounds = np.empty(n_first, dtype=np.float32)
    held = 0
    next_skip = 0
    while next_skip < len(skip) and skip[next_skip] < 0:
        next_skip += 1
    some = len(allowed) > 0
    for block in range(n_blocks):
        error = np.float32(norm * np.float64(errors[block]) + error_of_all)
        high = block_bounds(codes, bytes_, scales, block, n_parts, offset, step, error, bounds)
        start = block * LANES
        out = next_skip < len(skip) and skip[next_skip] < start + LANES
        if some or out:
            while next_skip < len(skip) and skip[next_skip] < start + LANES:
                bounds[skip[next_skip] - start] = -np.inf
                next_skip += 1
            if some and start + LANES <= n:
                high = keep_allowed(bounds, allowed, start)
            else:
                high = np.float32(-np.inf)
                for lane in range(min(LANES, n - start)):
                    if bounds[lane] > high and (not some or allowed[start + lane]):
                        high = bounds[lane]
        scratch[block] = high
        if held < n_first:
            held = _offer(first_bounds, first, held, high, block)
        elif high > first_bounds[0]:
            first_bounds[0], first[0] = high, block
            _sift_down(first_bounds, first, held)

    # Second pass: scores, first of the best item of each of these blocks, then of whatever may still be among
    # the k best. The threshold rises with every better item found.
    found = 0
    threshold = np.float32(-np.inf)
    best_lane = np.empty(n_first, dtype=np.int64)
    for turn in range(2):
        for place in range(n_first + (n_blocks if turn == 1 else 0)):
            block = first[place] if place < n_first else place - n_first
            high = scratch[block]
            if high == -np.inf or high < threshold:
                continue
            error = np.float32(norm * np.float64(errors[block]) + error_of_all)
            block_bounds(codes, bytes_, scales, block, n_parts, offset, step, error, bounds)
            start = block * LANES
            done = -1
            if place < n_first:
                if turn == 0:
                    best_lane[place] = -1
                    for lane in range(min(LANES, n - start)):
                        row = start + lane
                        if bounds[lane] == high and (not some or allowed[row]) and not _is_in(row, skip):
                            best_lane[place] = lane
                            break
                else:
                    done = best_lane[place]
                    scratch[block] = -np.inf
            for lane in range(min(LANES, n - start)):
                row = start + lane
                if turn == 0 and lane != best_lane[place]:
                    continue
                if lane == done or bounds[lane] < threshold:
                    continue
                if (some and not allowed[row]) or _is_in(row, skip):
                    continue
                score = wide_dot(vectors, row, wide, d) + 0.0
                found = _offer(scores, rows, found, score, row)
                if found == k:
                    margin = blur + 2.0**-48 * (abs(scores[0]) + abs(at_centre))
                    exact_threshold = (scores[0] - at_centre - margin) / unit
                    threshold = np.float32(exact_threshold)
                    if np.float64(threshold) > exact_threshold:
                        threshold = np.nextafter(threshold, np.float32(-np.inf))

    # The heap, emptied worst first, leaves the best in front.
    for last in range(found - 1, 0, -1):
        scores[0], scores[last] = scores[last], scores[0]
        rows[0], rows[last] = rows[last], rows[0]
        _sift_down(scores, rows, last)
    return found
