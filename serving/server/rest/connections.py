"""Connections that the REST API accepts: how many, for how long, and from whose pages."""

import asyncio
import ipaddress
import logging
import resource
from typing import Any

from aiohttp import web

from serving.server.options import Options

log = logging.getLogger(__name__)

SECONDS_TO_SEND = 30.0  # that a client has for a request's head, and for its body
_SECONDS_IDLE = 75.0  # that a connection may stay open between requests
_SERVER = {"Server": "ctr-keras"}  # aiohttp's own names versions
_FILES_OF_OTHERS = 64  # of models, of gRPC and of TensorFlow


class Connections(web.Server):
    """An HTTP server that closes connections on which no request comes, and those above a limit.

    The limit keeps file descriptors for the rest of the process.
    """

    def __init__(self, handler: Any, **options: Any):
        super().__init__(self._answer, **options)
        self._handler = handler
        self._waiting: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._most = _most_connections()
        self._count = 0
        self._is_full = False

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._count += 1
        if self._count > self._most:
            if not self._is_full:
                log.error("%d connections are open, further ones are closed", self._most)
            self._is_full = True
            transport.abort()
        else:
            self._is_full = self._is_full and self._count == self._most
            self._wait(handler, SECONDS_TO_SEND)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._count -= 1
        self._end_waiting(handler)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._end_waiting(request.protocol)
        try:
            response: web.StreamResponse = await self._handler(request)
        finally:
            if request.transport is not None:
                self._wait(request.protocol, _SECONDS_IDLE)
        response.headers.update(_SERVER)
        return response

    def _wait(self, handler: Any, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiting[handler] = loop.call_later(seconds, handler.force_close)

    def _end_waiting(self, handler: Any) -> None:
        if timer := self._waiting.pop(handler, None):
            timer.cancel()


class _Connection(web.RequestHandler):
    """A connection, whose answers to what is no HTTP name no versions either."""

    __slots__ = ()

    def handle_error(self, *args: Any, **options: Any) -> web.StreamResponse:
        response = super().handle_error(*args, **options)
        response.headers.update(_SERVER)
        return response


def _most_connections() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, (limit - _FILES_OF_OTHERS) // 2)


def is_rebound(request: web.BaseRequest, options: Options) -> bool:
    """Whether a browser reached this machine under another name than its own.

    A page of anyone's may do so: its name leads to its server first, and to 127.0.0.1 then.
    """
    agent = request.headers.get("User-Agent", "")
    is_of_browser = agent.startswith("Mozilla/") or "Origin" in request.headers
    allowed = {*filter(None, options.allowed_hosts.split(","))}
    if not is_of_browser or (not allowed and not _is_loopback(options.host)):
        return False
    name = _name(request.headers.get("Host", ""))
    return not (_is_address(name) or name in allowed | {options.host, "localhost"})


def _name(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
