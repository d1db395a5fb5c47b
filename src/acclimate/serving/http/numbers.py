"""Numbers for people: what the metrics say, as the status tells it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.metrics_core import Metric

Buckets = dict[float, float]
"""Upper bound in seconds -> how many were at most that long."""


def quantile(buckets: Buckets, q: float) -> float | None:
    """The time in seconds that a share q of a histogram stays within, taking each bucket as evenly filled.

    As PromQL's ``histogram_quantile``; what lies beyond the last bound is put at it. None of nothing.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if not total:
        return None
    wanted, low, below = q * total, 0.0, 0.0
    for bound in bounds:
        upto = buckets[bound]
        if upto >= wanted:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (upto - below)
        low, below = bound, upto
    return low


def told(families: Iterable[Metric]) -> dict[str, Any]:
    """The part of a status that the interface itself knows.

    Returns:
        ``latency``: for each route and method that answered, ``count``, ``p50_ms``, ``p99_ms``, the busiest
        first; ``event_on_disk`` and ``event_to_effect``: the same, None where there was nothing yet;
        ``requests`` by status; ``refused``: requests over a rate; ``running``; ``workers``, those ready.
    """
    histograms: dict[str, dict[tuple[str, str], Buckets]] = {}
    requests: dict[str, int] = {}
    sums = {
        "acclimate_limited_requests": 0.0,
        "acclimate_requests_running": 0.0,
        "acclimate_ready_workers": 0.0,
    }
    for family in families:
        for sample in family.samples:
            labels = sample.labels
            if sample.name.endswith("_bucket"):
                of = (labels.get("method", ""), labels.get("route", ""))
                buckets = histograms.setdefault(family.name, {}).setdefault(of, {})
                bound = float(labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
            elif sample.name == "acclimate_requests_total":
                status = labels["status"]
                requests[status] = requests.get(status, 0) + int(sample.value)
            elif family.name in sums and not sample.name.endswith("_created"):
                sums[family.name] += sample.value
    routes = [
        {"method": method, "route": route, **times}
        for (method, route), buckets in histograms.get("acclimate_request_seconds", {}).items()
        if route != "none" and (times := _times(buckets)) is not None
    ]
    everybody = ("", "")
    return {
        "latency": sorted(routes, key=lambda one: (-one["count"], one["route"], one["method"])),
        "event_on_disk": _times(histograms.get("acclimate_event_ack_seconds", {}).get(everybody, {})),
        "event_to_effect": _times(histograms.get("acclimate_event_to_effect_seconds", {}).get(everybody, {})),
        "requests": dict(sorted(requests.items())),
        "refused": int(sums["acclimate_limited_requests"]),
        "running": int(sums["acclimate_requests_running"]),
        "workers": int(sums["acclimate_ready_workers"]),
    }


def _times(buckets: Buckets) -> dict[str, Any] | None:
    middle, slow = quantile(buckets, 0.5), quantile(buckets, 0.99)
    if middle is None or slow is None:
        return None
    return {
        "count": int(max(buckets.values())),
        "p50_ms": round(1000 * middle, 4),
        "p99_ms": round(1000 * slow, 4),
    }
