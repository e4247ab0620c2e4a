"""The description of the API, made when it is first asked for."""

from __future__ import annotations

import asyncio

from aiohttp import web

from saga.api import bodies


async def openapi(_request: web.Request) -> web.Response:
    """Describe the API: an OpenAPI 3.1 document, made of its routes and of what they read and answer."""
    return web.Response(body=await asyncio.to_thread(_document), content_type=bodies.JSON)


def _document() -> bytes:
    # It looks at the table of routes, in which this handler stands; and few processes are ever asked for it.
    from saga.api.openapi import as_json  # noqa: PLC0415

    return as_json()
