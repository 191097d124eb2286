"""Photos: kept as they come, and served back in whole or in part.

    PUT  /NAME    the body, streamed into `originals` while it is counted and hashed; answers with its SHA-256
    GET  /NAME    the photo, with ETag; `Range: bytes=...` gets 206 and a part, `If-None-Match` 304
    HEAD /NAME    the same without the photo

An object's name ends with the hash of what is in it, and `metadata` says which one is the photo: whoever
reads that finds the object, and nobody sees a photo with the hash of another.
"""

import asyncio
import hashlib
import json
import re
import secrets
from urllib.parse import unquote

import componentize_py_async_support
import wit_world
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import metadata, originals
from wit_world.imports.wasi_http_types import Fields, Method_Get, Method_Head, Method_Put, Request, Response
from wit_world.imports.wasmcloud_blobstore_types import (
    Error_ContainerAlreadyExists,
    Error_NoSuchContainer,
    Error_NoSuchObject,
    Error_QuotaExceeded,
    ObjectId,
)

CONTAINER = "photos"
PIECE = 256 * 1024
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        method, path = request.get_method(), request.get_path_with_query() or "/"
        name = unquote(path.partition("?")[0].removeprefix("/"))
        headers = {key.lower(): value.decode("latin-1") for key, value in request.get_headers().copy_all()}
        try:
            if not name:
                return answer(404, "which photo? /NAME\n")
            if isinstance(method, Method_Put):
                return await put(name, headers, request)
            if isinstance(method, (Method_Get, Method_Head)):
                return await show(name, headers, whole=isinstance(method, Method_Get))
            return answer(405, "there are GET, HEAD and PUT\n", [("allow", "GET, HEAD, PUT")])
        except Err as error:
            return refusal(error.value)


# ---------------------------------------------------------------- in


async def put(name: str, headers: dict[str, str], request: Request) -> Response:
    """Keep the body under a name of its own, and let it be the photo when all of it is there."""
    upload = f"{name}/upload-{secrets.token_hex(8)}"
    with await opened() as container, await metadata.open(CONTAINER) as known:
        size, digest, complete = await stored(container, upload, request)
        if not complete:  # the client has gone: nobody hears the answer
            await container.delete_object(upload)
            return answer(400, "the photo is not complete\n")
        await originals.move_object(ObjectId(CONTAINER, upload), ObjectId(CONTAINER, f"{name}/{digest}"))
        old = await known.get(name)
        facts = {
            "size": size,
            "sha256": digest,
            "type": headers.get("content-type", "application/octet-stream"),
        }
        await known.set(name, json.dumps(facts).encode(), None)
        if old is not None and (before := json.loads(old)["sha256"]) != digest:
            await container.delete_object(f"{name}/{before}")
    return answer(201, json.dumps(facts) + "\n", [("etag", f'"{digest}"')])


async def opened():
    """Return the container; it is made by whoever comes first."""
    try:
        return await originals.get_container(CONTAINER)
    except Err as error:
        if not isinstance(error.value, Error_NoSuchContainer):
            raise
    try:
        return await originals.create_container(CONTAINER)
    except Err as error:
        if not isinstance(error.value, Error_ContainerAlreadyExists):
            raise
        return await originals.get_container(CONTAINER)


async def stored(container, upload: str, request: Request) -> tuple[int, str, bool]:
    """Stream the body of a request into an object; return its size and hash, and whether that was all."""
    received = wit_world.result_unit_wasi_http_types_error_code_future(lambda: Ok(None))[1]
    body, trailers = Request.consume_body(request, received)
    sink, data = wit_world.byte_stream()
    writing = asyncio.create_task(container.write_data(upload, data))
    size, sha256 = 0, hashlib.sha256()
    with body, sink:
        while not body.writer_dropped and not sink.reader_dropped:
            if piece := await body.read(PIECE):
                size += len(piece)
                sha256.update(piece)
                await sink.write_all(piece)
    await writing  # raises what the store has against it
    with trailers:
        complete = not isinstance(await trailers.read(), Err)
    return size, sha256.hexdigest(), complete


# ---------------------------------------------------------------- out


async def show(name: str, headers: dict[str, str], *, whole: bool) -> Response:
    with await metadata.open(CONTAINER) as known:
        found = await known.get(name)
    if found is None:
        return answer(404, "there is no such photo\n")
    facts = json.loads(found)
    size, tag = facts["size"], f'"{facts["sha256"]}"'
    about = [("etag", tag), ("accept-ranges", "bytes")]
    if tag in headers.get("if-none-match", ""):
        return answer(304, None, about)
    status, (first, last) = 200, (0, size - 1)
    wanted = headers.get("range", "") if headers.get("if-range", tag) == tag else ""
    if (part := part_of(wanted, size)) is not None:
        first, last = part
        status, which = (206, f"{first}-{last}") if first <= last else (416, "*")
        about.append(("content-range", f"bytes {which}/{size}"))
    if status == 416:
        return answer(416, "there are not so many bytes\n", about)
    about += [("content-type", facts["type"]), ("content-length", str(last + 1 - first))]
    if not whole or not size:
        return respond(status, None, about)
    with await originals.get_container(CONTAINER) as container:
        data = await container.get_data(f"{name}/{facts['sha256']}", first, last)
    return respond(status, data, about)  # the store's stream is the body: no byte of it comes through here


def part_of(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte of a range, None where it is none that we serve (RFC 9110, 14.2).

    The first is behind the last if there is nothing of it.
    """
    match = RANGE.fullmatch(wanted.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return (max(size - int(last), 0), size - 1) if int(last) else (1, 0)
    if last and int(last) < int(first):
        return None
    end = min(int(last), size - 1) if last else size - 1
    return int(first), end


# ---------------------------------------------------------------- answers


def answer(status: int, text: str | None, headers=()) -> Response:
    if text is None:
        return respond(status, None, headers)
    sink, body = wit_world.byte_stream()
    componentize_py_async_support.spawn(say(sink, text))
    return respond(status, body, [("content-type", "text/plain"), *headers])


async def say(sink, text: str) -> None:
    with sink:
        await sink.write_all(text.encode())


def respond(status: int, body, headers) -> Response:
    trailers = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(
        lambda: Ok(None)
    )[1]
    fields = Fields.from_list([(name, value.encode("latin-1")) for name, value in headers])
    response, _ = Response.new(fields, body, trailers)
    response.set_status_code(status)
    return response


def refusal(error) -> Response:
    """Say what the store has against it, and no more than that."""
    if isinstance(error, (Error_NoSuchObject, Error_NoSuchContainer)):
        return answer(404, "there is no such photo\n")
    if isinstance(error, Error_QuotaExceeded):
        return answer(413, "there is no room for it\n")
    return answer(503, f"{type(error).__name__.removeprefix('Error_')}\n")
