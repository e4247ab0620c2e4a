"""The description of the API, made when it is first asked for."""

from __future__ import annotations

import asyncio
from functools import cache

from aiohttp import web
from pydantic_core import from_json

from saga.api import bodies
from saga.api.manual import POLICY, page


async def openapi(_request: web.Request) -> web.Response:
    """Describe the API: an OpenAPI 3.1 document, made of its routes and of what they read and answer."""
    return web.Response(body=await asyncio.to_thread(_document), content_type=bodies.JSON)


async def docs(_request: web.Request) -> web.Response:
    """Show the description of the API as a page to read."""
    body = await asyncio.to_thread(_page)
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(text=body, content_type="text/html", headers=headers)


@cache
def _page() -> str:
    return page(from_json(_document()))


def _document() -> bytes:
    # It looks at the table of routes, in which this handler stands; and few processes are ever asked for it.
    from saga.api.openapi import as_json  # noqa: PLC0415

    return as_json()
