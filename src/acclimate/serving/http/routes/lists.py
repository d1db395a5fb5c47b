"""Lists: what to show whom, why, and what to ask."""

from __future__ import annotations

from typing import Any

from acclimate.serving.http import schemas
from acclimate.serving.http.operations import Call, Operation
from acclimate.serving.http.people import person_of
from acclimate.serving.service.answers import Questions, Ranking, Reasons
from acclimate.serving.service.strategies import DEFAULT


def recommend(call: Call) -> Ranking:
    """The best items for a user, a session, or somebody known by the events of the request alone.

    `exact` says whether no better item was overlooked, `model` which model answered, `events` how many events
    the answer reflects, `degraded` what is missing.
    """
    return call.service.recommend(call.tenant, **call.body)


def rank(call: Call) -> Ranking:
    """Given items in order, best first."""
    return call.service.rank(call.tenant, **call.body)


def similar(call: Call) -> Ranking:
    """Items that the same people would like."""
    return call.service.similar(call.tenant, **call.body)


def explain(call: Call) -> Reasons:
    """Why an item scores what it scores for one person: what each event added."""
    return call.service.explain(call.tenant, **call.body)


def onboarding(call: Call) -> Questions:
    """Which items to ask a newcomer about first: those whose answers tell most."""
    return call.service.onboarding(call.tenant, **call.body)


def _list(call: Call, ranking: Ranking) -> Ranking:
    reasons = {"score": len(ranking.items)}
    for one in ranking.items:
        if one.reason is not None:
            reasons["score"] -= 1
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
    call.metrics.ranked(reasons, bool(ranking.degraded))
    person = person_of(call.body)
    if person is not None:
        call.metrics.answered((call.tenant, person))
    return ranking


def _told(call: Call, answer: Any) -> Any:
    person = person_of(call.body)
    if person is not None:
        call.metrics.answered((call.tenant, person))
    return answer


def _kind(call: Call) -> str:
    return str(call.body.get("strategy", DEFAULT))


def _heavy(call: Call) -> bool:
    body = call.body
    if not ("strategy" in body or "diversity" in body):
        return False
    strategy, diversity = body.get("strategy", DEFAULT), body.get("diversity", 0.0)
    return not call.service.prepared(call.tenant, strategy=strategy, diversity=diversity)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/recommend",
        "recommend",
        recommend,
        "lists",
        schemas.RankingOut,
        Ranking,
        finish=_list,
        body=schemas.RecommendIn,
        quick=True,
        heavy=_heavy,
        kind=_kind,
    ),
    Operation(
        "POST",
        "/v1/rank",
        "recommend",
        rank,
        "lists",
        schemas.RankingOut,
        Ranking,
        finish=_list,
        body=schemas.RankIn,
        quick=True,
        heavy=_heavy,
        kind=_kind,
    ),
    Operation(
        "POST",
        "/v1/similar",
        "recommend",
        similar,
        "lists",
        schemas.RankingOut,
        Ranking,
        body=schemas.SimilarIn,
    ),
    Operation(
        "POST",
        "/v1/explain",
        "recommend",
        explain,
        "lists",
        schemas.ReasonsOut,
        Reasons,
        finish=_told,
        body=schemas.ExplainIn,
    ),
    Operation(
        "POST",
        "/v1/onboarding",
        "recommend",
        onboarding,
        "lists",
        schemas.QuestionsOut,
        Questions,
        finish=_told,
        body=schemas.OnboardingIn,
    ),
)
