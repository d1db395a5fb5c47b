"""What goes in and out, as JSON: pydantic checks bodies against it, and the OpenAPI document shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import ConfigDict, FailFast, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

# pydantic takes this one before Python 3.12.
from typing_extensions import TypedDict

from acclimate.serving.service.limits import (
    LONGEST_ID,
    LONGEST_TEXT,
    MOST_EVENTS,
    MOST_GIVEN,
    MOST_ITEMS,
    MOST_K,
    MOST_VALUES,
)

_STRICT = ConfigDict(strict=True, extra="forbid")
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
_BIGGEST = 2**63 - 1


class _Id:
    """Text or a whole number, with one message where it is neither."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.union_schema(
            [
                core_schema.str_schema(min_length=1, max_length=LONGEST_ID, pattern=_PLAIN, strict=True),
                core_schema.int_schema(ge=-_BIGGEST - 1, le=_BIGGEST, strict=True),
            ],
            mode="left_to_right",
            custom_error_type="id",
            custom_error_message=f"An id is text of 1 to {LONGEST_ID} characters without control characters, "
            "or a whole number of 64 bits",
        )


class _Scalar:
    """Text, a number, or true or false."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.union_schema(
            [
                core_schema.str_schema(max_length=LONGEST_TEXT, pattern=r"^[^\x00]*$", strict=True),
                core_schema.bool_schema(strict=True),
                core_schema.int_schema(ge=-_BIGGEST - 1, le=_BIGGEST, strict=True),
                core_schema.float_schema(allow_inf_nan=False, strict=True),
            ],
            mode="left_to_right",
            custom_error_type="scalar",
            custom_error_message=f"A value is text of at most {LONGEST_TEXT} characters, a finite number, or "
            "true or false",
        )


class _Condition:
    """A value, several of which any will do, or a range."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        scalar = handler.generate_schema(_Scalar)
        return core_schema.union_schema(
            [
                scalar,
                core_schema.list_schema(scalar, min_length=1, max_length=MOST_VALUES),
                handler.generate_schema(Range),
            ],
            mode="left_to_right",
            custom_error_type="condition",
            custom_error_message='A condition is a value, a list of values, or {"min": x, "max": y}',
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema)


class Range(TypedDict):
    """Numbers from ``min`` to ``max``, both included; one of the two is enough."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    min: NotRequired[Annotated[float, Field(allow_inf_nan=False)]]
    max: NotRequired[Annotated[float, Field(allow_inf_nan=False)]]


Id: TypeAlias = Annotated[Any, _Id]
ItemId: TypeAlias = Annotated[
    Any, _Id, Field(description="An item, by id; by its title where no id is meant.", examples=["m1"])
]
EventId: TypeAlias = Annotated[
    Any,
    _Id,
    Field(
        description="Your name for the event: sending it again changes nothing.",
        examples=["7d9f1c52"],
    ),
]
UserId: TypeAlias = Annotated[Any, _Id, Field(description="A user, by your id.", examples=["u17"])]
SessionId: TypeAlias = Annotated[
    Any, _Id, Field(description="A visitor without a name, by a session id.", examples=["5f3a"])
]
Value: TypeAlias = Annotated[
    Annotated[float, Field(allow_inf_nan=False)] | None,
    Field(description="A rating in the model's range; for choices a strength above 0, or nothing."),
]
Time: TypeAlias = Annotated[
    Annotated[float, Field(allow_inf_nan=False, ge=-1e11, le=1e11)] | None,
    Field(description="Seconds since 1970, for information: order is the order of arrival."),
]
Scalar: TypeAlias = Annotated[Any, _Scalar]
FieldName: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=_PLAIN)]
Fields: TypeAlias = Annotated[
    dict[FieldName, Scalar | Annotated[list[Scalar], Field(max_length=MOST_VALUES)] | None],
    Field(max_length=200),
]
PersonFields: TypeAlias = Annotated[
    Fields, Field(description="What is known of the person.", examples=[{"age": 31}])
]
Filter: TypeAlias = Annotated[
    dict[FieldName, Annotated[Any, _Condition]],
    Field(
        max_length=50,
        description="Only items whose fields are so: a value, any of several, or a range.",
        examples=[{"genre": ["Drama", "Comedy"], "year": {"min": 1990}}],
    ),
]
Items: TypeAlias = Annotated[list[Annotated[Any, _Id]], Field(max_length=MOST_ITEMS), FailFast()]
K: TypeAlias = Annotated[int, Field(ge=1, le=MOST_K, description="How many at most.")]
Exclude: TypeAlias = Annotated[Items, Field(description="Items to leave out.", examples=[["m7"]])]
Pins: TypeAlias = Annotated[
    dict[FieldName, Annotated[int, Field(ge=1, le=MOST_K)]],
    Field(max_length=MOST_K, description="Item -> the rank at which it stands.", examples=[{"m3": 1}]),
]
Bury: TypeAlias = Annotated[Items, Field(description="Items that the list does not show.")]
Exploration: TypeAlias = Annotated[
    float,
    Field(
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="The share of the list kept for items of which little is known.",
    ),
]
ExcludeSeen: TypeAlias = Annotated[bool, Field(description="Leave out what the person's events are about.")]
Diversity: TypeAlias = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False, description="0: by score alone; 1: unlike each other."),
]
Strategy: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        pattern=_PLAIN,
        description="Who ranks: default, popularity, item-knn.",
        examples=["default"],
    ),
]
Deviation: TypeAlias = Annotated[bool, Field(description="Whether to tell how sure each score is.")]
Degraded: TypeAlias = Annotated[
    list[str], Field(description="What is not as it should be, in words; empty if all is well.")
]
ModelHash: TypeAlias = Annotated[str, Field(description="SHA-256 of the model that answered.")]


class Observation(TypedDict):
    """One thing that somebody did: a user, or a session, and an item."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    id: NotRequired[EventId]
    user: NotRequired[UserId]
    session: NotRequired[SessionId]
    item: ItemId
    value: NotRequired[Value]
    time: NotRequired[Time]


class EventsIn(TypedDict):
    """Events, stored all or none."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    events: Annotated[
        list[Observation],
        Field(
            min_length=1,
            max_length=MOST_EVENTS,
            examples=[[{"id": "7d9f1c52", "user": "u17", "item": "m1", "value": 5}]],
        ),
        FailFast(),
    ]
    unknown_items: NotRequired[
        Annotated[
            Literal["error", "store"],
            Field(description="What to do with items that the catalogue lacks: refuse, or keep for later."),
        ]
    ]


class Given(TypedDict):
    """An event that a request brings along, and that is not stored."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    item: ItemId
    value: NotRequired[Value]
    time: NotRequired[Time]


GivenEvents: TypeAlias = Annotated[
    list[Given],
    Field(
        max_length=MOST_GIVEN,
        description="What the person did, unstored; after what is stored of them, if they are named too.",
        examples=[[{"item": "m1", "value": 5}]],
    ),
    FailFast(),
]


class Person(TypedDict):
    """Whom a request is about: a user, a session, events, or nobody of whom anything is known."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    user: NotRequired[UserId]
    session: NotRequired[SessionId]
    events: NotRequired[GivenEvents]
    fields: NotRequired[PersonFields]


class RecommendIn(Person):
    """For whom, how many, and which."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    k: NotRequired[K]
    exclude_seen: NotRequired[ExcludeSeen]
    exclude: NotRequired[Exclude]
    filter: NotRequired[Filter]
    diversity: NotRequired[Diversity]
    exploration: NotRequired[Exploration]
    explore: NotRequired[
        Annotated[Literal["thompson", "ucb"], Field(description="By a draw, or by an upper bound.")]
    ]
    pin: NotRequired[Pins]
    bury: NotRequired[Bury]
    strategy: NotRequired[Strategy]
    deviation: NotRequired[Deviation]


class RankIn(Person):
    """For whom, and the items to put in order."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    items: Annotated[
        list[Annotated[Any, _Id]],
        Field(
            min_length=1,
            max_length=MOST_ITEMS,
            description="The candidates, in any order.",
            examples=[["m1", "m2"]],
        ),
        FailFast(),
    ]
    k: NotRequired[K]
    exclude_seen: NotRequired[ExcludeSeen]
    exclude: NotRequired[Exclude]
    filter: NotRequired[Filter]
    diversity: NotRequired[Diversity]
    pin: NotRequired[Pins]
    bury: NotRequired[Bury]
    strategy: NotRequired[Strategy]
    deviation: NotRequired[Deviation]


class SimilarIn(TypedDict):
    """Like which item."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    item: ItemId
    k: NotRequired[K]
    exclude: NotRequired[Exclude]
    filter: NotRequired[Filter]


class ExplainIn(Person):
    """Whose score of which item."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    item: ItemId


class OnboardingIn(Person):
    """Whom to ask, and how much."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    k: NotRequired[K]


class NewItemIn(TypedDict):
    """An item that the catalogue lacks."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    item: Annotated[Any, _Id, Field(description="Its id.", examples=["n1"])]
    fields: Annotated[Fields, Field(examples=[{"title": "A new film", "genre": "Drama"}])]


class ItemsIn(TypedDict):
    """Items to add, or whose fields to replace."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    items: Annotated[list[NewItemIn], Field(min_length=1, max_length=MOST_ITEMS), FailFast()]


class RulesIn(TypedDict):
    """What the business wants, whatever anybody's taste; replaces what was ruled before."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    pin: NotRequired[Pins]
    bury: NotRequired[Bury]
    exploration: NotRequired[Exploration]


class ItemsQuery(TypedDict):
    """Which items."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    search: NotRequired[
        Annotated[
            str,
            Field(
                max_length=LONGEST_ID,
                pattern=r"^[^\x00]*$",
                description="Part of a title, or an id.",
                examples=["heat"],
            ),
        ]
    ]
    limit: NotRequired[Annotated[int, Field(ge=1, le=100, description="How many at most; 10 if not said.")]]


class ReceiptOut(TypedDict):
    """An event that is on disk."""

    id: str
    status: Literal["stored", "duplicate"]
    known: Annotated[bool, Field(description="Whether the catalogue holds its item.")]


class EventsOut(TypedDict):
    """A receipt for each event, in order."""

    events: list[ReceiptOut]


class UndoneOut(TypedDict):
    """The event no longer counts."""

    undone: Literal[True]


class RankedOut(TypedDict):
    """An item of a list."""

    item: Any
    title: NotRequired[str]
    score: float
    rank: int
    deviation: NotRequired[float]
    reason: NotRequired[Literal["explored", "pinned"]]


class RankingOut(TypedDict):
    """A list for one person."""

    items: list[RankedOut]
    model: ModelHash
    scale: Literal["rating", "rank"]
    strategy: str
    events: Annotated[int, Field(description="How many events the answer reflects.")]
    exact: Annotated[bool, Field(description="Whether no better item was overlooked.")]
    degraded: Degraded


class PartOut(TypedDict):
    """A term of a score."""

    part: Literal["prior", "event", "rest", "total"]
    contribution: float
    item: NotRequired[Any]
    title: NotRequired[str]
    value: NotRequired[float]
    event: NotRequired[str]


class ReasonsOut(TypedDict):
    """Why an item scores what it scores."""

    item: Any
    title: NotRequired[str]
    parts: list[PartOut]
    method: str
    model: ModelHash
    degraded: Degraded


class QuestionOut(TypedDict):
    """An item to ask a newcomer about."""

    item: Any
    title: NotRequired[str]
    rank: int
    information: NotRequired[float]
    deviation: NotRequired[float]
    popularity: NotRequired[float]


class QuestionsOut(TypedDict):
    """What to ask first."""

    items: list[QuestionOut]
    method: str
    model: ModelHash
    degraded: Degraded


class ErasedOut(TypedDict):
    """How many stored events there were."""

    erased: int


class RevisionOut(TypedDict):
    """The number of the tenant's last change."""

    revision: int


class RulesOut(TypedDict):
    """What is ruled now."""

    pin: dict[str, int]
    bury: list[str]
    exploration: float


class MatchOut(TypedDict):
    """An item that was found."""

    item: Any
    title: NotRequired[str]


class FoundOut(TypedDict):
    """Items by title or id."""

    items: list[MatchOut]


class KeptOut(TypedDict):
    """An event as it is kept."""

    item: Any
    value: NotRequired[float]
    time: NotRequired[float]
    id: NotRequired[str]
    known: bool


class ExportOut(TypedDict):
    """All that is kept of somebody: in the store, oldest first, and by the model."""

    events: list[KeptOut]
    history: list[KeptOut]


class ReloadedOut(TypedDict):
    """Whether another model took over, and the one in service."""

    reloaded: bool
    model: ModelHash


class AliveOut(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class ReadyOut(TypedDict):
    """Whether requests should be sent here, and if not, why."""

    ready: bool
    problems: list[str]
    notes: Annotated[list[str], Field(description="What is wrong, but no reason to go elsewhere.")]


class ErrorBody(TypedDict):
    """What went wrong."""

    code: Annotated[str, Field(description="For programs.")]
    message: Annotated[str, Field(description="What was wrong, what was found, what to do.")]
    field: NotRequired[Annotated[str, Field(description="Where in the request.")]]


class ErrorOut(TypedDict):
    """Every error looks like this."""

    error: ErrorBody


class Anything(TypedDict):
    """An object that describes itself."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
