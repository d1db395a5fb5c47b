"""Which column plays which role: the names that tables of interactions use, and how to say otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl

from acclimate.data.readers.report import LONGEST_NAME, Notes, listing
from acclimate.data.readers.table import Table

Role = Literal["user", "item", "value", "time", "event"]


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Compared without case, spaces and punctuation; the first tier of which the table has a name decides.
ALIASES: Mapping[Role, tuple[frozenset[str], ...]] = {
    "user": (
        _names("userid user uid queryid usernum useridx usernumber u"),
        _names(
            "reviewerid customerid customer visitorid memberid accountid personid profileid subscriberid "
            "buyerid playlistid sessionid custid username login"
        ),
    ),
    "item": (
        _names("itemid item iid itemnum itemidx itemnumber i"),
        _names(
            "movieid productid parentasin businessid trackid songid artistid bookid gameid animeid articleid "
            "newsid videoid jokeid wineid hotelid recipeid contentid sku stockcode adid courseid jobid "
            "beerid storyid poiid venueid"
        ),
        _names("movie product asin track song artist book isbn game anime article video joke title"),
    ),
    "value": (
        _names("rating ratings stars overall score eventvalue weight value"),
        _names(
            "preference label strength count counts plays playcount listencount hours hoursplayed quantity "
            "qty frequency numevents interactions implicit r"
        ),
    ),
    "time": (
        _names("timestamp time datetime unixreviewtime eventtime unixtime ts"),
        _names("date createdat reviewtime ratedat timestampms epoch eventtimestamp dateadded invoicedate"),
    ),
    "event": (
        _names("eventtype feedbacktype event behaviortype interactiontype"),
        _names("action behavior"),
    ),
}

STRENGTHS = _names(
    "weight strength count counts plays playcount listencount hours hoursplayed quantity qty frequency "
    "numevents interactions implicit eventvalue"
)
"""Names of columns that say how much, not how good: implicit unless the caller says otherwise."""


@dataclass(frozen=True)
class Roles:
    """The column of each role; None where the table has none."""

    user: str
    item: str
    value: str | None
    time: str | None
    event: str | None

    def as_dict(self) -> dict[str, str]:
        every = {
            "user": self.user,
            "item": self.item,
            "value": self.value,
            "time": self.time,
            "event": self.event,
        }
        return {role: column for role, column in every.items() if column is not None}


def plain(name: str) -> str:
    """A column name without case, spaces and punctuation, and without a RecBole type (``user_id:token``)."""
    return re.sub(r"[^a-z0-9]", "", name.split(":", maxsplit=1)[0].lower())


def is_known_name(name: str) -> bool:
    """Whether some role goes by this name."""
    name = plain(name)
    return any(name in tier for tiers in ALIASES.values() for tier in tiers)


def find_roles(table: Table, columns: Mapping[str, str | None] | None, notes: Notes) -> Roles:
    """Decides which column plays which role.

    Args:
        columns: what the caller says, role -> column name, or None for "no such column".

    Raises:
        Refused: a role that is needed has no column or several, or ``columns`` names something unknown.
    """
    said = _checked(table, columns or {}, notes)
    if not table.header:
        roles = _by_position(table, said, notes)
    else:
        taken = set(said.values())
        roles = dict(said)
        for role in get_args(Role):
            if role not in roles:
                roles[role] = _by_name(table, role, taken, notes)
                taken.add(roles[role])
    for role in ("user", "item"):
        if roles.get(role) is None:
            _missing(table, role, roles, notes)
    return Roles(
        str(roles["user"]), str(roles["item"]), roles.get("value"), roles.get("time"), roles.get("event")
    )


def find_id(table: Table, role: Literal["user", "item"], said: str | None, hint: str, notes: Notes) -> str:
    """The id column of a table of users or items.

    Args:
        said: the column that the caller names. hint: the column that plays the role among the interactions.
    """
    if said is not None:
        if said not in table.columns:
            raise notes.refuse(
                f"{table.source} has no column {said!r}; it has {listing(table.columns)}.",
                f'Name one of them with {role}_id="...".',
            )
        return said
    if table.header and hint in table.columns:  # made-up names, as column_2, mean nothing in another table
        return hint
    for tier in (*ALIASES[role], frozenset({"id"})):
        names = [name for name in table.columns if plain(name) in tier]
        if len(names) == 1:
            return names[0]
        if names:
            break
    if not table.columns:
        raise notes.refuse(f"{table.source} has no columns.", "Bring a table with a column of ids.")
    if not table.header:
        return table.columns[0]
    guess: dict[str, Any] = {f"{role}_id": table.columns[0]}
    raise notes.refuse(
        f"{table.source}: no column is plainly the {role} id; it has {listing(table.columns)}.",
        f'Name it, for example {role}_id="{table.columns[0]}".',
        **guess,
    )


def _checked(table: Table, columns: Mapping[str, str | None], notes: Notes) -> dict[str, str | None]:
    for role, column in columns.items():
        if role not in get_args(Role):
            raise notes.refuse(
                f"columns= names the role {role!r}; the roles are {', '.join(get_args(Role))}.",
                f"Write {_example(table.columns)}.",
            )
        if column is not None and column not in table.columns:
            raise notes.refuse(
                f"columns= names {column!r} as the {role}; {table.source} has {listing(table.columns)}.",
                f"Write {_example(table.columns)}.",
            )
    named = [column for column in columns.values() if column is not None]
    for column in named:
        if named.count(column) > 1:
            raise notes.refuse(f"columns= names {column!r} twice.", "Give each role a column of its own.")
    return dict(columns)


def _by_name(table: Table, role: Role, taken: set[str | None], notes: Notes) -> str | None:
    free = [name for name in table.columns if name not in taken]
    for tier in ALIASES[role]:
        names = [name for name in free if plain(name) in tier]
        if len(names) == 1:
            return names[0]
        if names:
            raise notes.refuse(
                f"{table.source}: {listing(names)} could each be the {role} column.",
                f'Say which: columns={{"{role}": "{names[0]}"}}.',
                columns={role: names[0]},
            )
    return None


def _by_position(table: Table, said: dict[str, str | None], notes: Notes) -> dict[str, str | None]:
    """Roles of a file without column names: user, item, value, time, as far as there are columns."""
    free = [name for name in table.columns if name not in said.values()]
    needed = [role for role in ("user", "item") if role not in said]
    if len(free) > len(needed) + 2 or len(free) < len(needed):
        raise notes.refuse(
            f"{table.source} has {len(table.columns)} columns and no line of column names "
            f"(first row: {listing([str(v) for v in table.frame.row(0)]) if len(table) else 'none'}).",
            f"Say which is which: {_example(table.columns)}, or header=True if the first line names them.",
        )
    roles = dict(said)
    for role in needed:
        roles[role] = free.pop(0)
    times = [name for name in free if _like_time(table.frame[name])]
    if "time" not in roles and len(times) == 1:
        roles["time"] = times[0]
        free.remove(times[0])
    for role in ("value", "time"):
        if role not in roles and free:
            roles[role] = free.pop(0)
    said_so = ", ".join(f"{role} = {roles[role]}" for role in get_args(Role) if roles.get(role))
    notes.note(
        f"{table.source} has no line of column names; taken by position: {said_so}.",
        f"If that is wrong, write {_example(table.columns)}.",
    )
    return roles


def _like_time(series: pl.Series) -> bool:
    head = series.head(200).cast(pl.String)
    large = head.cast(pl.Float64, strict=False) > 1e8
    dated = head.str.contains(r"^\s*\d{4}-\d{2}-\d{2}")
    alike = large.fill_null(False) | dated.fill_null(False)
    return len(alike) > 0 and float(alike.mean() or 0) > 0.9  # type: ignore[arg-type]


def _missing(table: Table, role: str, roles: Mapping[str, str | None], notes: Notes) -> None:
    found = f"{table.source}: no column is known to be the {role}; the columns are {listing(table.columns)}."
    perhaps = " If the first line is data, say header=False." if table.header and table.from_text else ""
    free = [name for name in table.columns if name not in roles.values() and len(name) <= LONGEST_NAME]
    guess = {r: c for r, c in roles.items() if c is not None and r != "event"}
    needed = [r for r in ("user", "item") if r not in guess]
    if len(free) < len(needed):
        raise notes.refuse(found, f"Every event needs a user and an item: bring both columns.{perhaps}")
    guess |= dict(zip(needed, free, strict=False))
    written = ", ".join(f'"{r}": "{guess[r]}"' for r in get_args(Role) if r in guess)
    raise notes.refuse(
        found, f"Say which is which, for example columns={{{written}}}.{perhaps}", columns=guess
    )


def _example(names: list[str]) -> str:
    """A call that names columns this table really has, as far as it has enough."""
    parts = [
        f'"{role}": "{name}"' for role, name in zip(("user", "item", "value", "time"), names, strict=False)
    ]
    return f"columns={{{', '.join(parts)}}}"
