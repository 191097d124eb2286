"""Keys over HTTP: a store behind a cache.

`cache` and `store` are one interface imported twice. Which backend serves which is the host's business:
nothing here says memory, SQLite or Redis.

    GET    /<key>   the value; the header `x-cache` says `hit` or `miss`
    PUT    /<key>   write it (POST does the same)
    DELETE /<key>   remove it
"""

from typing import NamedTuple
from urllib.parse import unquote

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import cache, store
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    IncomingRequest,
    Method_Delete,
    Method_Get,
    Method_Head,
    Method_Post,
    Method_Put,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

BUCKET = "pages"
READ_SIZE = 65_536
WRITE_SIZE = 4_096  # the most that `blocking-write-and-flush` takes at once


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        try:
            answer = route(request)
        except Err as error:
            answer = refusal(error.value)
        send(response_out, answer)


def route(request: IncomingRequest) -> Answer:
    path, _, _ = (request.path_with_query() or "/").partition("?")
    key = unquote(path.removeprefix("/"))
    if not key:
        return Answer(404, b"which key? ask for /<key>\n")
    match request.method():
        case Method_Get() | Method_Head():
            return read(key)
        case Method_Put() | Method_Post():
            return write(key, read_body(request))
        case Method_Delete():
            return remove(key)
        case _:
            return Answer(405, headers=(("allow", b"GET, HEAD, PUT, POST, DELETE"),))


def read(key: str) -> Answer:
    with cache.open(BUCKET) as cached:
        value = cached.get(key)
        if value is not None:
            return Answer(200, value, (("x-cache", b"hit"),))
        with store.open(BUCKET) as stored:
            value = stored.get(key)
        if value is None:
            return Answer(404, b"no such key\n", (("x-cache", b"miss"),))
        cached.set(key, value)
        return Answer(200, value, (("x-cache", b"miss"),))


def write(key: str, value: bytes) -> Answer:
    with store.open(BUCKET) as stored:
        stored.set(key, value)
    forget(key)
    return Answer(204)


def remove(key: str) -> Answer:
    with store.open(BUCKET) as stored:
        stored.delete(key)
    forget(key)
    return Answer(204)


def forget(key: str) -> None:
    with cache.open(BUCKET) as cached:
        cached.delete(key)


def refusal(error: object) -> Answer:
    """Answer for an error of either label: the same three cases, in two interfaces."""
    match error:
        case cache.Error_AccessDenied() | store.Error_AccessDenied():
            return Answer(403, b"the host does not grant this bucket\n")
        case cache.Error_NoSuchStore() | store.Error_NoSuchStore():
            return Answer(503, b"the host has no such bucket\n")
        case cache.Error_Other(value=text) | store.Error_Other(value=text):
            return Answer(502, f"{text}\n".encode())
        case _:
            return Answer(400, b"the request body could not be read\n")


def read_body(request: IncomingRequest) -> bytes:
    chunks = []
    body = request.consume()
    with body.stream() as stream:
        try:
            while True:
                chunks.append(stream.blocking_read(READ_SIZE))
        except Err as error:
            if not isinstance(error.value, StreamError_Closed):
                raise
    with IncomingBody.finish(body):  # hands back the trailers, which nobody here wants
        return b"".join(chunks)


def send(response_out: ResponseOutparam, answer: Answer) -> None:
    headers = list(answer.headers)
    if answer.status != 204:  # which has no body, and must not speak of its length
        headers.append(("content-length", str(len(answer.body)).encode()))
    response = OutgoingResponse(Fields.from_list(headers))
    response.set_status_code(answer.status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        for start in range(0, len(answer.body), WRITE_SIZE):
            stream.blocking_write_and_flush(answer.body[start : start + WRITE_SIZE])
    OutgoingBody.finish(body, None)
