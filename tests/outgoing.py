"""Sends requests as a guest does, by the functions of ``wasi:http`` and without a guest."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.client import FutureIncomingResponse, OutgoingHandler
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.http.incoming import BodyStream, IncomingBody
from host_plugin_wasi.http.messages import IncomingResponse, OutgoingRequest
from host_plugin_wasi.http.outgoing import OutgoingBody
from host_plugin_wasi.http_settings import OutgoingSettings
from wasmplex.plugin import Err, Ok, Variant

__all__ = ["METHODS", "client", "fetch", "once", "read", "request", "response", "write"]

METHODS = ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")


@asynccontextmanager
async def client(*allowed: str, **settings: Any) -> AsyncIterator[OutgoingHandler]:
    """Have an ``outgoing-handler``.

    :param settings: of `OutgoingSettings`
    """
    handler = OutgoingHandler(AllowedHosts(allowed or ("*",)), OutgoingSettings(**settings))
    try:
        yield handler
    finally:
        await handler.close()


def request(
    port: int, path: str | None = "/", *headers: tuple[str, bytes], method: str = "get"
) -> OutgoingRequest:
    """Return a request to 127.0.0.1; the names of WIT are its methods, and everything else."""
    made = OutgoingRequest(Fields.from_list(headers))
    made.set_method(Variant(method) if method in METHODS else Variant("other", method))
    made.set_scheme(Variant("HTTP"))
    made.set_authority(f"127.0.0.1:{port}")
    made.set_path_with_query(path)
    return made


async def response(future: FutureIncomingResponse) -> Any:
    """Return the response, or the error-code."""
    await future.subscribe().block()
    result = future.get()
    assert isinstance(result, Ok)
    assert future.get() == Err(), "the answer is given once"
    inner: Any = result.value
    return inner.value


async def fetch(handler: OutgoingHandler, made: OutgoingRequest) -> Any:
    """Return status and body, or the error-code of whatever went wrong."""
    try:
        got = await response(handler.handle(made, None))
    except Err as error:
        return error.value
    if not isinstance(got, IncomingResponse):
        return got
    stream, body = got.consume().stream(), b""
    while True:
        try:
            body += await once(stream)
        except Err as error:
            why: Variant = error.value
            return (got.status(), body) if why.tag == "closed" else why.value.code_of("http")


async def once(stream: BodyStream, length: int = 65536) -> bytes:
    """Return the next piece of a body."""
    piece = stream.blocking_read(length)
    return piece if isinstance(piece, bytes) else await piece


async def read(body: IncomingBody) -> bytes:
    """Return a body to where it ends or breaks off."""
    stream, got = body.stream(), b""
    with contextlib.suppress(Err):
        while True:
            got += await once(stream)
    return got


async def write(body: OutgoingBody, *pieces: bytes) -> None:
    """Write a body, without its end."""
    stream = body.write_stream()
    for piece in pieces:
        pending = stream.blocking_write_and_flush(piece)
        if pending is not None:
            await pending
