"""Serving the application: what is no HTTP is answered as everything else that is at fault."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from saga.api.problems import problem_response, signed
from saga.api.refusal import Refusal

log = logging.getLogger(__name__)

_DETAIL: Final = "the request is not HTTP/1.1 as it should be, or a line of it is too long"


class Runner(web.AppRunner):
    """Runs an application; the framework itself would answer in plain text, and log a traceback."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - the framework has no other way to give it a handler
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class _Handler(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reached a route."""
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        log.info("a request from %s was no HTTP: %s", request.remote, type(exc).__name__)
        response = signed(problem_response(Refusal("malformed-request", _DETAIL, status=status)))
        response.force_close()
        return response
