"""The interface for people: one page made from the OpenAPI document, without anything from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any, Final

STYLE: Final = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid; }
h3 { margin-top: 2rem; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, monospace; font-size: .9rem; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: .25rem; }
.scope { font-weight: normal; font-size: .9rem; }
dt { font-weight: bold; } dd { margin: 0 0 .25rem 1.5rem; }
"""


def page(document: dict[str, Any]) -> str:
    """The whole page as HTML."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        "<title>acclimate: the interface</title><link rel=stylesheet href=docs/style.css>",
        f"<h1>acclimate {escape(document['info']['version'])}: the interface</h1>",
        f"<p>{_prose(document['info']['description'])}</p>",
        "<p>For programs: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2><p>{_prose(tag['description'])}</p>")
        for path, methods in document["paths"].items():
            for method, one in methods.items():
                if tag["name"] in one["tags"]:
                    parts.append(_operation(method, path, one, document))
    return "\n".join(parts)


def _operation(method: str, path: str, one: dict[str, Any], document: dict[str, Any]) -> str:
    out = [
        f"<h3 id={escape(one['operationId'])}><code>{method.upper()} {escape(path)}</code> "
        f"<span class=scope>{escape(one['x-scope'])}</span></h3>",
        f"<p>{_prose(one['summary'])}. {_prose(one.get('description', ''))}</p>",
    ]
    rows = [(p["name"], p.get("description", "")) for p in one.get("parameters", ())]
    if "requestBody" in one:
        content = one["requestBody"]["content"]["application/json"]
        shape = _resolved(content["schema"], document)
        required = shape.get("required", ())
        for name, schema in shape["properties"].items():
            text = schema.get("description") or _resolved(schema, document).get("description", "")
            rows.append((name + ("" if name in required else " (optional)"), text))
        out.append(f"<pre>{escape(json.dumps(content['example'], indent=1))}</pre>")
    if rows:
        terms = "".join(f"<dt><code>{escape(name)}</code></dt><dd>{_prose(text)}</dd>" for name, text in rows)
        out.append(f"<dl>{terms}</dl>")
    for status, answer in one["responses"].items():
        example = next(iter(answer["content"].values())).get("example")
        if status == "200" and example is not None:
            out.append(f"<p>Answers:</p><pre>{escape(json.dumps(example, indent=1))}</pre>")
    errors = ", ".join(status for status in one["responses"] if status != "200")
    out.append(f"<p>Errors: {errors}.</p>")
    return "\n".join(out)


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _prose(text: str) -> str:
    """Text with `code` as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
