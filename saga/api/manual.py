"""The description of the API as a page to read: one file, without a script, and nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final, TypeAlias

Document: TypeAlias = Mapping[str, Any]

_STYLE: Final = """\
:root { color-scheme: light dark; --line: light-dark(#d8dbe0, #3a3f47); --soft: light-dark(#f5f6f8, #22262c);
  --text: light-dark(#1c2128, #e6e8eb); --dim: light-dark(#59616c, #a0a8b3); --mark: light-dark(#0b5cad, #7db8ff) }
* { box-sizing: border-box }
body { margin: 0; color: var(--text); font: 15px/1.55 system-ui, sans-serif; display: grid;
  grid-template-columns: 17rem minmax(0, 1fr) }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1.2rem; border-right: 1px solid var(--line) }
nav h2 { margin: 1.2rem 0 .2rem; font-size: .8rem; color: var(--dim); font-weight: 600 }
nav a { display: block; padding: .1rem 0; color: inherit; text-decoration: none; font-size: .9rem }
nav a:hover, nav a:focus-visible { color: var(--mark); text-decoration: underline }
main { padding: 1.2rem 2.5rem 5rem; max-width: 64rem }
section { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: .6rem; scroll-margin-top: 1rem }
h3 { font-size: 1.05rem; margin: .6rem 0 } h4 { font-size: .85rem; color: var(--dim); margin: 1rem 0 .3rem }
code, pre { font: 13px/1.5 ui-monospace, monospace } pre { background: var(--soft); padding: .7rem .9rem;
  border-radius: 6px; overflow: auto; margin: .3rem 0 } b.verb { display: inline-block; min-width: 4.2em }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line) } th { font-size: .8rem; color: var(--dim); font-weight: 600 }
summary { cursor: pointer; color: var(--mark) } p { margin: .3rem 0 } .dim { color: var(--dim) }
a { color: var(--mark) }
@media (max-width: 50rem) { body { display: block } nav { position: static; height: auto; border: 0 } main { padding: 1rem } }
"""

#: Lets the browser use the one style sheet of the page, and nothing else.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(document: Document) -> str:
    """Return an OpenAPI document of this API as HTML."""
    info = document["info"]
    operations = list(_operations(document))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width">',
        f"<title>{escape(info['title'])}: HTTP API</title><style>{_STYLE}</style>",
        f"<nav><strong>{escape(info['title'])}</strong> <span class=dim>{escape(info['version'])}</span>",
        *_contents(document, operations),
        f"</nav><main><h1>HTTP API</h1>{_text(info['description'])}",
        "<p><a href=/openapi.json>The same for programs: OpenAPI 3.1</a></p>",
        *(part for each in operations for part in _operation(document, *each)),
        "<h2>Schemas</h2>",
        *(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
        "</main></html>",
    ]
    return "".join(parts)


_Operation: TypeAlias = tuple[str, str, Document]


def _operations(document: Document) -> Iterator[_Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _contents(document: Document, operations: Iterable[_Operation]) -> Iterator[str]:
    operations = list(operations)
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['description'])}</h2>"
        for _, _, operation in operations:
            if tag["name"] in operation["tags"]:
                yield f"<a href=#{operation['operationId']}>{_name(operation)}</a>"
    yield "<h2>Shapes</h2>"
    yield from (
        f"<a href=#schema-{escape(name)}>{escape(name)}</a>" for name in document["components"]["schemas"]
    )


def _name(operation: Document) -> str:
    return escape(str(operation["operationId"]).replace("_", " "))


def _operation(document: Document, method: str, path: str, operation: Document) -> Iterator[str]:
    yield f"<section id={operation['operationId']}><h3><b class=verb>{method}</b> <code>{escape(path)}</code></h3>"
    yield _text(operation["summary"])
    yield f"<p class=dim>{escape(operation['description'])}</p>"
    parameters = [_found(document, each) for each in operation["parameters"]]
    yield "<h4>Parameters</h4><table><tr><th>name<th>in<th>what it is<th>type"
    for each in parameters:
        needed = " (needed)" if each.get("required") else ""
        yield (
            f"<tr><td><code>{escape(each['name'])}</code><td>{each['in']}{needed}"
            f"<td>{_inline(each['description'])}<td>{_type(each['schema'])}"
        )
    yield "</table>"
    if (body := operation.get("requestBody")) is not None:
        yield f"<h4>Body{'' if body['required'] else ' (may be left out)'}</h4>"
        yield _media(document, body["content"])
    for status, answer in operation["responses"].items():
        yield f"<h4>{status}</h4>{_text(answer['description'])}"
        yield _media(document, answer.get("content", {}))
    yield "</section>"


def _media(document: Document, content: Document) -> str:
    """Return what a body is, with its examples folded away."""
    if not content:
        return ""
    media = next(iter(content.values()))
    parts = [f"<p><code>{escape(', '.join(content))}</code> {_type(media.get('schema', {}))}</p>"]
    for name, each in media.get("examples", {}).items():
        shown = json.dumps(_found(document, each)["value"], indent=2, ensure_ascii=False)
        parts.append(
            f"<details><summary>Example: {escape(name)}</summary><pre>{escape(shown)}</pre></details>"
        )
    return "".join(parts)


def _schema(name: str, schema: Document) -> str:
    shown = json.dumps(schema, indent=2, ensure_ascii=False)
    return (
        f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>{_text(schema.get("description", ""))}'
        f"<details><summary>as JSON Schema</summary><pre>{escape(shown)}</pre></details></section>"
    )


def _found(document: Document, value: Document) -> Document:
    """Follow a reference into the document."""
    reference = value.get("$ref")
    if reference is None:
        return value
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def _type(schema: Document) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href=#schema-{name}>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    kind = schema.get("type", "JSON")
    return escape(kind if isinstance(kind, str) else " or ".join(kind))


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part)


def _inline(text: str) -> str:
    return re.sub(r"``?([^`]+)``?", r"<code>\1</code>", escape(text, quote=False))
