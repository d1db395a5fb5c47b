"""The page: a playground and a status view, which ask the same HTTP interface as everybody else.

Nothing is built and nothing comes from another host: templates are rendered here, scripts are plain modules.
What a file says is in its address (``/static/<digest of all files>/playground.js``), so a browser may keep it
for ever and still never mixes two versions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

HEADERS: Final = {
    # Trusted types: no script of this page can turn text into markup, whatever an item is called.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""What every answer of the page carries."""

# Not what the machine's own tables say, which differ from one to the next.
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    content_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """Every packaged file by its name; nothing else can be asked for."""
    found = {}
    for file in sorted(files(__package__).joinpath("static").iterdir(), key=lambda file: file.name):
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in _TYPES:
            body = file.read_bytes()
            found[file.name] = Asset(body, _TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


@cache
def digest() -> str:
    """Names what all files say together."""
    whole = hashlib.sha256()
    for name, asset in assets().items():
        whole.update(f"{name}\0{asset.etag}\0".encode())
    return whole.hexdigest()[:16]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, root: str = "") -> str:
    """A page as HTML.

    Args:
        template: its name without suffix. root: the path under which a proxy serves all this, without a
            trailing slash.
    """
    page = _environment().get_template(f"{template}.html")
    return page.render(
        page=template, root=root, static=f"{root}/static/{digest()}", version=version("acclimate")
    )


router = APIRouter(include_in_schema=False)
"""``/``, ``/status`` and ``/static``, which need no key: they hold no data. The interface behind them may."""


@router.api_route("/", methods=["GET", "HEAD"])
async def playground(request: Request) -> Response:
    """Pick a few items and watch the list change."""
    return _page(request, "playground")


@router.api_route("/status", methods=["GET", "HEAD"])
async def status(request: Request) -> Response:
    """How the server is doing."""
    return _page(request, "status")


@router.api_route("/static/{name}", methods=["GET", "HEAD"])
async def current(request: Request, name: str) -> Response:
    """A file under its plain name: to be asked for again each time."""
    return _file(request, name, "no-cache")


@router.api_route("/static/{of}/{name}", methods=["GET", "HEAD"])
async def kept(request: Request, of: str, name: str) -> Response:
    """A file of one version; where that is not this server's, the current one, which is not to be kept."""
    return _file(request, name, "public, max-age=31536000, immutable" if of == digest() else "no-cache")


def _page(request: Request, template: str) -> Response:
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return Response(
        render(template, root),
        media_type="text/html; charset=utf-8",
        headers={**HEADERS, "cache-control": "no-cache"},
    )


def _file(request: Request, name: str, cache_control: str) -> Response:
    asset = assets().get(name)
    if asset is None:
        return Response("Not found.\n", 404, HEADERS, "text/plain; charset=utf-8")
    headers = {**HEADERS, "cache-control": cache_control, "etag": asset.etag}
    if asset.etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(None, 304, headers)
    return Response(asset.body, 200, {**headers, "content-type": asset.content_type})
