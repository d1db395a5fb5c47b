"""``acclimate serve`` and ``acclimate keys``: answering others, and who may ask."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from acclimate.cli.options import Json, Model, Quiet
from acclimate.cli.output import Output
from acclimate.errors import UserInputError

app = typer.Typer(help="Keys to a server: add, list, remove.", no_args_is_help=True)

_LIMITS = "Limits of each worker"

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="WHERE",
        help="Where events are kept: a file, or postgresql://...; default MODEL.events.sqlite.",
    ),
]
KeyStore = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="WHERE",
        help="The server's store: a file such as movies.acc.events.sqlite, or postgresql://...",
        show_default=False,
    ),
]


def serve(
    model: Model,
    store: StoreOption = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes any free one.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes, one a core.")] = 1,
    first_stage: Annotated[
        Path | None,
        typer.Option(
            "--first-stage",
            metavar="MODEL",
            help="Finds candidates for a model that cannot scan its catalogue.",
        ),
    ] = None,
    approximate: Annotated[
        str | None,
        typer.Option(
            "--approximate",
            metavar="INDEX",
            help="Searches a catalogue of millions by an index, faiss or usearch, and tells its recall.",
        ),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="The playground.")] = True,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="URL", help="Web pages of this origin may ask. Repeatable."),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--proxy", metavar="ADDRESS", help="A proxy whose X-Forwarded-For is believed. Repeatable."
        ),
    ] = None,
    log: Annotated[
        str, typer.Option("--log", metavar="WHICH", help="Requests logged: all, errors, none.")
    ] = "errors",
    max_body: Annotated[
        int, typer.Option("--max-body", metavar="BYTES", help="Of a request.", rich_help_panel=_LIMITS)
    ] = 1_000_000,
    max_batch: Annotated[
        int, typer.Option("--max-batch", help="Events of a request.", rich_help_panel=_LIMITS)
    ] = 1000,
    max_k: Annotated[int, typer.Option("--max-k", help="Items of a list.", rich_help_panel=_LIMITS)] = 1000,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", help="Of a request.", rich_help_panel=_LIMITS),
    ] = 10.0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", help="Requests at once.", rich_help_panel=_LIMITS)
    ] = 1000,
    key_rate: Annotated[
        float,
        typer.Option("--key-rate", help="Requests a second of a key; 0: any.", rich_help_panel=_LIMITS),
    ] = 20_000,
    user_rate: Annotated[
        float,
        typer.Option("--user-rate", help="The same of a user or session.", rich_help_panel=_LIMITS),
    ] = 100,
    address_rate: Annotated[
        float,
        typer.Option("--address-rate", help="The same of an address.", rich_help_panel=_LIMITS),
    ] = 20_000,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answers over HTTP, keeps events on disk, and opens a page to try it.

    On this machine alone it needs no key. To be reached by others (--host 0.0.0.0) it needs one:
    `acclimate keys add`.
    """
    needs_extra()
    from acclimate.serving.http.settings import Limits, Settings

    screen = Output(json, quiet)
    settings = Settings(
        model=str(model),
        store=store,
        first_stage=None if first_stage is None else str(first_stage),
        approximate=approximate,
        host=host,
        port=port,
        workers=workers,
        page=page,
        allow_origins=tuple(allow_origin or ()),
        proxies=tuple(proxy or ()),
        log=log,
        limits=Limits(
            body=max_body,
            batch=max_batch,
            k=max_k,
            timeout=timeout,
            concurrency=concurrency,
            key_rate=key_rate,
            user_rate=user_rate,
            address_rate=address_rate,
        ),
    ).checked()
    start(settings, screen)


def start(settings: object, screen: Output) -> None:
    """Serves by settings, and says where.

    Raises:
        UserInputError: the model, the store or the address cannot be.
    """
    import torch

    from acclimate.model import load
    from acclimate.serving.http import server
    from acclimate.serving.http.access import check_reachable
    from acclimate.serving.http.app import create
    from acclimate.serving.http.settings import Settings
    from acclimate.serving.service.approximation import Approximation
    from acclimate.serving.store.opening import open_store

    assert isinstance(settings, Settings)
    torch.set_num_threads(1)
    listener = server.bind(settings)
    try:
        if settings.workers == 1:
            application = create(settings)
            keyed = application.state.access.keyed
        else:
            # Workers open model and store themselves; what is wrong with them is said once, here.
            chosen = load(settings.model)
            if settings.index is not None:
                Approximation(settings.index, chosen)
            if settings.first_stage:
                load(settings.first_stage)
            application = None
            opened = open_store(settings.where)
            try:
                check_reachable(opened, settings)
                keyed = not settings.loopback or bool(opened.keys())
            finally:
                opened.close()
        where = server.url(settings, listener)
        screen.give(
            {
                "url": where,
                "model": settings.model,
                "store": settings.shown,
                "workers": settings.workers,
                "keys": keyed,
            }
        )
        screen.show(*_told(settings, where, keyed))
        server.run(settings, listener, application)
    finally:
        listener.close()


@app.command("add")
def add(
    store: KeyStore,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="NAME",
            help="What it may: ingest, recommend, admin, erase. Repeatable; default ingest and recommend.",
        ),
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose data it reaches.")] = "default",
    name: Annotated[str, typer.Option("--name", help="For people, to know it by.")] = "",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Makes a key and shows it, once: the store keeps only its hash."""
    needs_extra()
    from acclimate.serving.http.keys import make_key
    from acclimate.serving.store.opening import TEMPORARY, open_store

    screen = Output(json, quiet)
    if store == TEMPORARY:
        raise UserInputError(f"A key in {TEMPORARY} is gone at once. Name the server's file or database.")
    text, key = make_key(tenant, scope or ["ingest", "recommend"], name)
    opened = open_store(store)
    try:
        opened.add_key(key)
    finally:
        opened.close()
    screen.give({"key": text, "id": key.id, "tenant": tenant, "scopes": list(key.scopes), "name": name})
    # It is to be copied: it may not be broken.
    screen.show(Text(text, no_wrap=True))
    screen.say(
        f"For {', '.join(key.scopes)} of tenant {tenant!r}. Keep it: it cannot be shown again. "
        "A running server knows it within a second."
    )


@app.command("list")
def list_(store: KeyStore, json: Json = False, quiet: Quiet = False) -> None:
    """The keys of a store; not their secrets, which nobody has."""
    needs_extra()
    from acclimate.serving.http.settings import without_password
    from acclimate.serving.store.opening import open_store

    screen = Output(json, quiet)
    existing(store)
    opened = open_store(store)
    try:
        keys = opened.keys()
    finally:
        opened.close()
    screen.give(
        {
            "keys": [
                {name: value for name, value in dataclasses.asdict(key).items() if name != "digest"}
                for key in keys
            ]
        }
    )
    if not keys:
        screen.show(f"No keys. Make one: acclimate keys add --store {without_password(store)}")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("id", "tenant", "scopes", "made", "name"):
        table.add_column(column, overflow="ellipsis", no_wrap=column in ("id", "made"))
    for key in keys:
        made = time.strftime("%Y-%m-%d", time.gmtime(key.created))
        table.add_row(key.id, key.tenant, ", ".join(key.scopes), made, key.name)
    screen.show(table)


@app.command("remove")
def remove(
    key: Annotated[
        str, typer.Argument(metavar="ID", help="Its id: see `acclimate keys list`.", show_default=False)
    ],
    store: KeyStore,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Removes a key; a running server refuses it within a second."""
    needs_extra()
    from acclimate.serving.store.opening import open_store

    screen = Output(json, quiet)
    existing(store)
    # Whoever pastes the whole key means its id.
    key_id = key.split("_")[1] if key.startswith("acc_") and key.count("_") >= 2 else key
    opened = open_store(store)
    try:
        removed = opened.remove_key(key_id)
    finally:
        opened.close()
    if not removed:
        raise UserInputError(f"There is no key {key_id[:20]!r}. `acclimate keys list` shows those there are.")
    screen.give({"removed": key_id})
    screen.show(f"Removed {key_id}.")


def needs_extra() -> None:
    """Whether what serving needs is installed.

    Raises:
        UserInputError: it is not.
    """
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserInputError(
            f"Serving needs more than is installed ({error.name}). pip install 'acclimate[serve]'"
        ) from None


def existing(store: str) -> None:
    """Whether there is such a file, where it is one: listing must not make it.

    Raises:
        UserInputError: there is none.
    """
    if "://" not in store and not Path(store).expanduser().is_file():
        raise UserInputError(f"There is no store {store}. A server makes it, or `acclimate keys add`.")


def _told(settings: object, where: str, keyed: bool) -> list[Text]:
    """What a server says when it starts."""
    from acclimate.serving.http.settings import Settings

    assert isinstance(settings, Settings)
    who = "keys are needed" if keyed else "open to this machine alone, no key needed"
    lines = [
        ("", where, "bold"),
        ("model  ", settings.model, ""),
        ("store  ", settings.shown, ""),
        ("access ", who, ""),
        ("more   ", f"{where}/docs", ""),
    ]
    if settings.workers > 1:
        lines.append(("workers", f" {settings.workers}", ""))
    return [Text.assemble((label, "dim"), (text, style), no_wrap=True) for label, text, style in lines]
