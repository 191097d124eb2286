"""Keys over HTTP: a store behind a cache, asynchronous and by WASI 0.3. Answers are those of ../python.

One instance serves many requests at once: while one waits for a store, others go on. `cache` and `store` are
one interface imported twice, and are asked side by side.
"""

import asyncio
from typing import NamedTuple
from urllib.parse import unquote

import componentize_py_async_support
import wit_world
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import cache, store
from wit_world.imports import wasmcloud_keyvalue_types as keyvalue
from wit_world.imports.wasi_http_types import (
    Fields,
    Method_Delete,
    Method_Get,
    Method_Head,
    Method_Post,
    Method_Put,
    Request,
    Response,
)

BUCKET = "pages"
READ_SIZE = 65_536
spawn = componentize_py_async_support.spawn
outcome_future = wit_world.result_unit_wasi_http_types_error_code_future
trailers_future = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        try:
            answer = await route(request)
        except Err as error:
            answer = refusal(error.value)
        return response_of(answer)


async def route(request: Request) -> Answer:
    path, _, _ = (request.get_path_with_query() or "/").partition("?")
    key = unquote(path.removeprefix("/"))
    if not key:
        return Answer(404, b"which key? ask for /<key>\n")
    match request.get_method():
        case Method_Get() | Method_Head():
            return await read(key)
        case Method_Put() | Method_Post():
            return await write(key, await body_of(request))
        case Method_Delete():
            return await remove(key)
        case _:
            return Answer(405, headers=(("allow", b"GET, HEAD, PUT, POST, DELETE"),))


async def both() -> tuple[keyvalue.Bucket, keyvalue.Bucket]:
    return await asyncio.gather(cache.open(BUCKET), store.open(BUCKET))


async def read(key: str) -> Answer:
    cached, stored = await both()
    with cached, stored:
        kept, value = await asyncio.gather(cached.get(key), stored.get(key))
        if kept is not None:
            return Answer(200, kept, (("x-cache", b"hit"),))
        if value is None:
            return Answer(404, b"no such key\n", (("x-cache", b"miss"),))
        await cached.set(key, value, None)
        return Answer(200, value, (("x-cache", b"miss"),))


async def write(key: str, value: bytes) -> Answer:
    cached, stored = await both()
    with cached, stored:
        await stored.set(key, value, None)
        await cached.delete(key)
    return Answer(204)


async def remove(key: str) -> Answer:
    cached, stored = await both()
    with cached, stored:
        await stored.delete(key)
        await cached.delete(key)
    return Answer(204)


def refusal(error: object) -> Answer:
    """Answer for an error of either label: the cases are those of one interface."""
    match error:
        case keyvalue.Error_AccessDenied():
            return Answer(403, b"the host does not grant this bucket\n")
        case keyvalue.Error_NoSuchStore():
            return Answer(503, b"the host has no such bucket\n")
        case _:
            return Answer(502, f"{type(error).__name__}\n".encode())


async def body_of(request: Request) -> bytes:
    body, trailers = Request.consume_body(request, outcome_future(lambda: Ok(None))[1])
    chunks = []
    with body, trailers:
        while not body.writer_dropped:
            chunks.append(await body.read(READ_SIZE))
    return b"".join(chunks)


def response_of(answer: Answer) -> Response:
    headers = list(answer.headers)
    body = None
    if answer.status != 204:  # which has no body, and must not speak of its length
        headers.append(("content-length", str(len(answer.body)).encode()))
        sink, body = wit_world.byte_stream()
        spawn(send(sink, answer.body))
    response, _ = Response.new(Fields.from_list(headers), body, trailers_future(lambda: Ok(None))[1])
    response.set_status_code(answer.status)
    return response


async def send(sink, body: bytes) -> None:
    with sink:
        await sink.write_all(body)
