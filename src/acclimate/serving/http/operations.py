"""Operations: what a route is, told once, for the table that finds it and the document that describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl, unquote_to_bytes

from pydantic import TypeAdapter

from acclimate.serving.http.keys import Scope
from acclimate.serving.http.problems import Problem
from acclimate.serving.http.schemas import FieldName

if TYPE_CHECKING:
    from acclimate.serving.http.metrics import Metrics
    from acclimate.serving.service.service import Service

Method = Literal["GET", "POST", "PUT", "DELETE"]

_SEGMENT: Final[TypeAdapter[str]] = TypeAdapter(FieldName)


@dataclass(slots=True)
class Call:
    """A request that may be answered: who asks, and what.

    Attributes:
        tenant: whose data. path: ids of the path. query, body: as their schemas say.
        seconds: since the head of the request arrived.
        ready: what keeps the server from being ready. notes: what is wrong with it besides.
    """

    service: Service
    metrics: Metrics
    tenant: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    seconds: Callable[[], float]
    ready: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Raw:
    """An answer that is not JSON, or not with status 200."""

    body: bytes
    media_type: bytes
    status: int = 200


def _same(call: Call, value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class Operation:
    """A method on a path.

    Attributes:
        scope: what a key must be allowed to; None is for everybody.
        run: does it, and gives the answer, or a future of it. finish: makes the answer of what came.
        gives: the type of the answer, by which it is written. body, query, answer: schemas.
        statuses: of the errors that it may answer beside the usual ones.
        quick: whether it may be done on the event loop. heavy: whether a call of it must not, after all.
        kind: what decides how long it takes.
        early: whether it answers before the server is warm.
    """

    method: Method
    path: str
    scope: Scope | None
    run: Callable[[Call], Any]
    tag: str
    answer: Any
    gives: Any
    finish: Callable[[Call, Any], Any] = _same
    body: Any = None
    query: Any = None
    statuses: tuple[int, ...] = ()
    quick: bool = False
    heavy: Callable[[Call], bool] = lambda call: False
    kind: Callable[[Call], str] = lambda call: ""
    early: bool = False
    media_type: str = "application/json"
    examples: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For programs."""
        return self.run.__name__

    @cached_property
    def reader(self) -> TypeAdapter[Any]:
        """Checks bodies."""
        return TypeAdapter(self.body)

    @cached_property
    def writer(self) -> TypeAdapter[Any]:
        """Writes answers."""
        return TypeAdapter(self.gives)

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Names that a body may hold."""
        return tuple(self.body.__annotations__) if self.body is not None else ()

    @cached_property
    def params(self) -> tuple[str, ...]:
        """Names of the ids in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @cached_property
    def query_reader(self) -> TypeAdapter[Any]:
        """Checks what follows the question mark."""
        return TypeAdapter(self.query)

    def read_query(self, raw: bytes) -> Mapping[str, Any]:
        """What follows the question mark.

        Raises:
            Problem, ValidationError: something unknown, something twice, or no UTF-8.
        """
        if not raw and self.query is None:
            return {}
        try:
            pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
        except ValueError:
            raise Problem(422, "invalid_input", "What follows the ? is not well-formed.") from None
        if len({name for name, _ in pairs}) < len(pairs):
            raise Problem(422, "invalid_input", "What follows the ? names something twice.")
        if self.query is None:
            if pairs and self.scope is not None:
                raise Problem(422, "invalid_input", "This takes nothing after a ?.", field=pairs[0][0][:80])
            return {}
        read: Mapping[str, Any] = self.query_reader.validate_python(dict(pairs))
        return read


class Table:
    """Finds operations by method and path.

    Paths are taken apart before they are decoded, so that an id may hold a slash.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = tuple(operations)
        self._exact: dict[bytes, dict[str, Operation]] = {}
        self._shaped: dict[tuple[bytes | None, ...], dict[str, Operation]] = {}
        for one in operations:
            parts = one.path.encode().split(b"/")
            shape = tuple(None if part.startswith(b"{") else part for part in parts)
            if None in shape:
                self._shaped.setdefault(shape, {})[one.method] = one
            else:
                self._exact.setdefault(one.path.encode(), {})[one.method] = one

    def find(self, raw_path: bytes) -> tuple[dict[str, Operation], list[bytes]] | None:
        """The operations on a path, by method, and the ids in it, still encoded."""
        exact = self._exact.get(raw_path)
        if exact is not None:
            return exact, []
        if not raw_path.startswith(b"/v1/"):
            return None
        parts = raw_path.split(b"/")
        for shape, found in self._shaped.items():
            if len(shape) == len(parts) and all(
                want is None or want == part for want, part in zip(shape, parts, strict=True)
            ):
                return found, [part for want, part in zip(shape, parts, strict=True) if want is None]
        return None


def path_ids(operation: Operation, encoded: Sequence[bytes]) -> dict[str, str]:
    """The ids of a path.

    Raises:
        Problem: no UTF-8. ValidationError: no id.
    """
    out = {}
    for name, raw in zip(operation.params, encoded, strict=True):
        try:
            text = unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            raise Problem(422, "invalid_input", f"The {name} in the path is no UTF-8.", field=name) from None
        try:
            out[name] = _SEGMENT.validate_python(text)
        except ValueError:
            raise Problem(
                422,
                "invalid_input",
                f"The {name} in the path is text of 1 to 256 characters without control characters.",
                field=name,
            ) from None
    return out
