"""``wasi:http/types``: fields, messages and bodies, called as the linker calls them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from typing import Any

import anyio
import pytest
from host_plugin_wasi.http.fields import FORBIDDEN, SIZE_LIMIT, Fields
from host_plugin_wasi.http.handler import IncomingHandler
from host_plugin_wasi.io import Violation
from host_plugin_wasi.p3.fields import Fields3
from host_plugin_wasi.packages import PROVIDERS
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.capabilities.http import BodyTooLarge, Headers, HttpExchange, HttpFailure
from wasmplex.component.shape import Export, InstanceType
from wasmplex.plugin import Err, GuestExit, HostFunction, ImportRequest, Ok, Variant, WorkloadContext

pytestmark = pytest.mark.anyio

Call = Callable[..., Any]


@asynccontextmanager
async def packages() -> AsyncIterator[Call]:
    """Bind ``wasi:http`` and ``wasi:io``; call a function by interface and name."""
    functions: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for provider in (p() for p in PROVIDERS if p.package in ("wasi:http", "wasi:io")):
            bound = await stack.enter_async_context(provider.bind(WorkloadContext("w")))
            for interface in provider.interfaces:
                request = ImportRequest(f"{provider.package}/{interface}@0.2.3", None, InstanceType())
                functions |= {f"{interface}#{name}": f for name, f in bound.serve(request).items()}

        async def call(name: str, *args: Any) -> Any:
            function = functions[name]
            result = (function.call if isinstance(function, HostFunction) else function)(*args)
            return await result if isawaitable(result) else result

        yield call


@pytest.fixture
async def types() -> AsyncIterator[Call]:
    """Call a function of ``types`` by its name."""
    async with packages() as package:

        async def call(name: str, *args: Any) -> Any:
            return await package(f"types#{name}", *args)

        yield call


def case(error: pytest.ExceptionInfo[Err[Variant]]) -> str:
    return str(error.value.value.tag)


# ---------------------------------------------------------------- fields

NAMES = st.sampled_from(["accept", "Accept", "x-a", "X-A", "x-b"])
VALUES = st.binary(max_size=4).filter(lambda v: not set(v) & {*range(9), *range(10, 32), 127})
OPERATIONS = st.one_of(
    st.tuples(st.just("append"), NAMES, VALUES),
    st.tuples(st.just("set"), NAMES, st.lists(VALUES, max_size=3)),
    st.tuples(st.just("delete"), NAMES, st.none()),
)


@given(st.lists(OPERATIONS))
def test_fields_are_an_ordered_multimap_that_ignores_case(operations: list[Any]) -> None:
    fields, model = Fields(), []
    for operation, name, value in operations:
        if operation == "append":
            fields.append(name, value)
            model.append((name, value))
        else:
            model = [entry for entry in model if entry[0].lower() != name.lower()]
            if operation == "delete":
                fields.delete(name)
            else:
                fields.set(name, value)
                model += [(name, each) for each in value]
        assert fields.entries() == model
        assert fields.get(name.upper()) == [v for n, v in model if n.lower() == name.lower()]
        assert fields.has(name) == any(n.lower() == name.lower() for n, _ in model)
    assert fields.sent() == [(n.lower().encode(), v) for n, v in model]


@pytest.mark.parametrize(
    "values", [[b"5", b"5"], [b"5", b"6"], [b"5_0"], [b"+5"], [b"5, 5"], [b""], [b"9" * 19]]
)
def test_a_length_is_one_number(values: list[bytes]) -> None:
    fields = Fields(("Content-Length", value) for value in values)
    with pytest.raises(ValueError, match="one number"):
        fields.content_length()


def test_a_length_may_be_any_number_that_a_recipient_can_hold() -> None:
    assert Fields([("a", b"1")]).content_length() is None
    assert Fields([("Content-Length", b"007")]).content_length() == 7
    assert Fields([("content-length", b"9" * 18)]).content_length() == 10**18 - 1


@pytest.mark.parametrize("name", ["", "a b", "a:", "é", "a\n", "(a)"])
async def test_names_that_are_none(types: Call, name: str) -> None:
    await refused(types, name, b"")


@pytest.mark.parametrize("value", [b"\n", b"x\0", b"\x7f", b"a\r\nb"])
async def test_values_that_are_none(types: Call, value: bytes) -> None:
    await refused(types, "a", value)


async def refused(types: Call, name: str, value: bytes) -> None:
    fields = await types("[constructor]fields")
    for call in (
        ("[method]fields.append", fields, name, value),
        ("[method]fields.set", fields, name, [value]),
        ("[static]fields.from-list", [(name, value)]),
    ):
        with pytest.raises(Err) as error:
            await types(*call)
        assert case(error) == "invalid-syntax"
    assert await types("[method]fields.get", fields, name) == []
    assert await types("[method]fields.has", fields, name) is False


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
async def test_fields_that_are_the_hosts(types: Call, name: str) -> None:
    fields = await types("[constructor]fields")
    for call in (
        ("[method]fields.append", fields, name.title(), b"v"),
        ("[method]fields.set", fields, name, [b"v"]),
        ("[method]fields.delete", fields, name),
        ("[static]fields.from-list", [(name, b"v")]),
    ):
        with pytest.raises(Err) as error:
            await types(*call)
        assert case(error) == "forbidden"


async def test_fields_of_a_message_are_immutable_and_their_clone_is_not(types: Call) -> None:
    made = await types("[static]fields.from-list", [("A", b"1")])
    response = await types("[constructor]outgoing-response", made)
    headers = await types("[method]outgoing-response.headers", response)
    calls: list[tuple[Any, ...]] = [
        ("[method]fields.append", headers, "b", b"2"),
        ("[method]fields.set", headers, "a", []),
        ("[method]fields.delete", headers, "a"),
    ]
    for call in calls:
        with pytest.raises(Err) as error:
            await types(*call)
        assert case(error) == "immutable"
    clone = await types("[method]fields.clone", headers)
    await types("[method]fields.append", clone, "b", b"2")
    assert await types("[method]fields.entries", clone) == [("A", b"1"), ("b", b"2")]
    assert await types("[method]fields.entries", headers) == [("A", b"1")]


async def test_fields_cannot_fill_the_hosts_memory(types: Call) -> None:
    fields = await types("[constructor]fields")
    for _ in range(15):
        await types("[method]fields.append", fields, "a", b"x" * (SIZE_LIMIT // 16))
    with pytest.raises(Violation, match="bytes of fields"):
        await types("[method]fields.append", fields, "a", b"x" * (SIZE_LIMIT // 16))
    with pytest.raises(Violation):
        await types("[static]fields.from-list", [("a", bytes(b"x" * SIZE_LIMIT))])


@pytest.mark.parametrize("kind", [Fields, Fields3])
def test_of_what_is_too_much_no_more_is_looked_at_than_there_may_be(kind: type[Fields]) -> None:
    """Looking at all that a call passes would hold up everybody."""
    seen = 0

    class Many(list[tuple[str, bytes]]):
        def __iter__(self) -> Iterator[tuple[str, bytes]]:
            nonlocal seen
            for entry in super().__iter__():
                seen += 1
                yield entry

    with pytest.raises((Violation, Err)):
        kind.from_list(Many([("a", b"")] * 100_000))
    assert seen < SIZE_LIMIT // 32
    with pytest.raises((Violation, Err)) as error:
        kind().set("a", [b"\n"] * 100_000)
    assert "invalid-syntax" not in str(error.value), "it was looked at"


# ---------------------------------------------------------------- requests and responses


async def test_outgoing_request_has_defaults_and_takes_what_is_valid(types: Call) -> None:
    request = await types("[constructor]outgoing-request", await types("[constructor]fields"))
    getters = ("method", "scheme", "authority", "path-with-query")
    assert [await types(f"[method]outgoing-request.{g}", request) for g in getters] == [
        Variant("get"), None, None, None,
    ]  # fmt: skip
    values = (Variant("other", "LINK"), Variant("HTTP"), "[::1]:80", "/a?b=%20")
    for name, value in zip(getters, values, strict=True):
        await types(f"[method]outgoing-request.set-{name}", request, value)
        assert await types(f"[method]outgoing-request.{name}", request) == value


@pytest.mark.parametrize(
    ("setter", "value"),
    [
        ("method", Variant("other", "A B")),
        ("method", Variant("other", "")),
        ("scheme", Variant("other", "1http")),
        ("authority", "user@host"),
        ("authority", "host:99999"),
        ("authority", "a/b"),
        ("authority", "a b"),
        ("authority", ""),
        ("path-with-query", "/a b"),
        ("path-with-query", "/a#f"),
        ("path-with-query", "relative"),
        ("path-with-query", "/a\r\nhost: b"),
    ],
)
async def test_outgoing_request_refuses_what_is_not(types: Call, setter: str, value: Any) -> None:
    request = await types("[constructor]outgoing-request", await types("[constructor]fields"))
    with pytest.raises(Err):
        await types(f"[method]outgoing-request.set-{setter}", request, value)


@pytest.mark.parametrize(
    ("setter", "text", "most"),
    [
        ("method", "a", 1024),
        ("scheme", "a", 1024),
        ("authority", "a", 1024),
        ("path-with-query", "/", SIZE_LIMIT),
    ],
)
async def test_outgoing_requests_cannot_fill_the_hosts_memory(
    types: Call, setter: str, text: str, most: int
) -> None:
    def value(length: int) -> Any:
        return Variant("other", text * length) if setter in {"method", "scheme"} else text * length

    request = await types("[constructor]outgoing-request", await types("[constructor]fields"))
    await types(f"[method]outgoing-request.set-{setter}", request, value(most))
    for length in (most + 1, 8 << 20):
        with pytest.raises(Err) as error:
            await types(f"[method]outgoing-request.set-{setter}", request, value(length))
        assert error.value.value is None
        assert await types(f"[method]outgoing-request.{setter}", request) == value(most)


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, 65535])
async def test_status_that_is_none(types: Call, status: int) -> None:
    response = await types("[constructor]outgoing-response", await types("[constructor]fields"))
    with pytest.raises(Err):
        await types("[method]outgoing-response.set-status-code", response, status)
    assert await types("[method]outgoing-response.status-code", response) == 200


async def test_request_options_keep_what_is_set(types: Call) -> None:
    options = await types("[constructor]request-options")
    for name in ("connect-timeout", "first-byte-timeout", "between-bytes-timeout"):
        assert await types(f"[method]request-options.{name}", options) is None
        await types(f"[method]request-options.set-{name}", options, 5)
        assert await types(f"[method]request-options.{name}", options) == 5


async def test_bodies_and_their_streams_are_handed_out_once(types: Call) -> None:
    response = await types("[constructor]outgoing-response", await types("[constructor]fields"))
    body = await types("[method]outgoing-response.body", response)
    await types("[method]outgoing-body.write", body)
    for call in (("[method]outgoing-response.body", response), ("[method]outgoing-body.write", body)):
        with pytest.raises(Err):
            await types(*call)


# ---------------------------------------------------------------- a call of the handler


class Exchange(HttpExchange):
    """A request made of pieces; None is a moment in which there is nothing. Keeps the response."""

    def __init__(
        self, *pieces: bytes | Exception | None, method: str = "GET", trailers: Headers = ()
    ) -> None:
        self.pieces = list(pieces)
        self.method = method
        self.scheme = "http"
        self.on_room = None
        self.sent_trailers = trailers
        self.status = 0
        self.sent: list[bytes] = []
        self.free = 100
        self.ended: Headers | str | None = "not yet"

    authority = "host:1"
    path_with_query = "/p?q"
    headers = ((b"host", b"host:1"), (b"connection", b"x"), (b"x-a", b"1"))

    @property
    def trailers(self) -> Headers | None:
        return self.sent_trailers or None

    async def deliver(self) -> None:
        """Do nothing: what was written is here."""

    async def read(self) -> bytes:
        while self.pieces and self.pieces[0] is None:
            await anyio.sleep(0.001)
            self.pieces.pop(0)
        return self.read_nowait() or b""

    def read_nowait(self) -> bytes | None:
        if not self.pieces:
            return b""
        if self.pieces[0] is None:
            return None
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def start(self, status: int, headers: Headers) -> None:
        self.status = status
        self.head = headers

    def room(self) -> int:
        return self.free

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        self.free -= len(data)

    def finish(self, trailers: Headers | None = None) -> None:
        self.ended = trailers


async def run_guest(exchange: Exchange, body: Callable[..., Any]) -> None:
    """Run a function as a guest's handler on an exchange; it calls ``package("interface#function", ...)``."""
    async with packages() as package:

        class Instance:
            async def call(self, export: str, *args: Any) -> None:
                assert export == "wasi:http/incoming-handler@0.2.3#handle"
                await body(package, *args)

        export = Export("wasi:http/incoming-handler@0.2.3", InstanceType())
        await IncomingHandler().adapt(export)(Instance(), exchange)


@pytest.fixture
def guest() -> Callable[..., Any]:
    return run_guest


async def answer(package: Any, out: Any, *headers: tuple[str, bytes], status: int = 200) -> Any:
    """Start a response; return its body."""
    fields = await package("types#[static]fields.from-list", list(headers))
    response = await package("types#[constructor]outgoing-response", fields)
    await package("types#[method]outgoing-response.set-status-code", response, status)
    body = await package("types#[method]outgoing-response.body", response)
    await package("types#[static]response-outparam.set", out, Ok(response))
    return body


async def test_what_the_guest_sees_of_a_request(guest: Callable[..., Any]) -> None:
    async def body(package: Any, request: Any, out: Any) -> None:
        seen = [
            await package(f"types#[method]incoming-request.{name}", request)
            for name in ("method", "path-with-query", "scheme", "authority", "headers")
        ]
        assert seen[:4] == [Variant("other", "LINK"), "/p?q", Variant("HTTP"), "host:1"]
        assert seen[4].entries() == [("x-a", b"1")]
        with pytest.raises(Err):
            seen[4].append("x", b"")
        await package("types#[method]incoming-request.consume", request)
        with pytest.raises(Err):
            await package("types#[method]incoming-request.consume", request)
        await package("types#[static]outgoing-body.finish", await answer(package, out), None)

    await guest(Exchange(method="LINK"), body)


async def test_a_response_with_body_and_trailers(guest: Callable[..., Any]) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        body = await answer(package, out, ("X-A", b"1"), status=201)
        stream = await package("types#[method]outgoing-body.write", body)
        await package("streams#[method]output-stream.blocking-write-and-flush", stream, b"hello")
        trailers = await package("types#[static]fields.from-list", [("X-T", b"2")])
        await package("types#[static]outgoing-body.finish", body, trailers)

    exchange = Exchange()
    await guest(exchange, handle)
    assert (exchange.status, exchange.head) == (201, [(b"x-a", b"1")])
    assert (exchange.sent, exchange.ended) == ([b"hello"], [(b"x-t", b"2")])


async def test_what_is_written_before_the_response_is_set_is_held(guest: Callable[..., Any]) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        response = await package(
            "types#[constructor]outgoing-response", await package("types#[constructor]fields")
        )
        body = await package("types#[method]outgoing-response.body", response)
        stream = await package("types#[method]outgoing-body.write", body)
        await package("streams#[method]output-stream.blocking-write-and-flush", stream, b"early")
        await package("types#[static]outgoing-body.finish", body, None)
        assert not exchange.sent
        await package("types#[static]response-outparam.set", out, Ok(response))

    exchange = Exchange()
    await guest(exchange, handle)
    assert (exchange.sent, exchange.ended) == ([b"early"], None)


async def test_waiting_for_room_in_a_response_that_is_not_set_traps(
    guest: Callable[..., Any],
) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        response = await package(
            "types#[constructor]outgoing-response", await package("types#[constructor]fields")
        )
        body = await package("types#[method]outgoing-response.body", response)
        stream = await package("types#[method]outgoing-body.write", body)
        for _ in range(17):
            await package("streams#[method]output-stream.blocking-write-and-flush", stream, bytes(4096))

    with pytest.raises(Violation, match=r"response-outparam\.set"):
        await guest(Exchange(), handle)


async def test_the_guest_waits_for_room(guest: Callable[..., Any]) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        body = await answer(package, out)
        stream = await package("types#[method]outgoing-body.write", body)
        assert await package("streams#[method]output-stream.check-write", stream) == 100
        with pytest.raises(Violation):
            await package("streams#[method]output-stream.write", stream, bytes(101))
        await package("streams#[method]output-stream.write", stream, bytes(100))
        assert await package("streams#[method]output-stream.check-write", stream) == 0
        pollable = await package("streams#[method]output-stream.subscribe", stream)
        assert not await package("poll#[method]pollable.ready", pollable)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make_room)
            await package("streams#[method]output-stream.blocking-write-and-flush", stream, bytes(150))
        await package("types#[static]outgoing-body.finish", body, None)

    async def make_room() -> None:
        for _ in range(3):
            await anyio.sleep(0.002)
            exchange.free = 50
            assert exchange.on_room is not None
            exchange.on_room()

    exchange = Exchange()
    await guest(exchange, handle)
    assert sum(map(len, exchange.sent)) == 250


@pytest.mark.parametrize(("length", "written"), [(b"3", b"four"), (b"5", b"four"), (b"0", b"x")])
async def test_a_body_that_is_not_as_long_as_it_says(
    guest: Callable[..., Any], length: bytes, written: bytes
) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        body = await answer(package, out, ("Content-Length", length))
        stream = await package("types#[method]outgoing-body.write", body)
        if len(written) > int(length):
            with pytest.raises(Err) as error:
                await package("streams#[method]output-stream.blocking-write-and-flush", stream, written)
            assert case(error) == "last-operation-failed"
            code = await package("types#http-error-code", error.value.value.value)
            assert code == Variant("HTTP-response-body-size", len(written))
        else:
            await package("streams#[method]output-stream.blocking-write-and-flush", stream, written)
        with pytest.raises(Err) as error:
            await package("types#[static]outgoing-body.finish", body, None)
        assert error.value.value == Variant("HTTP-response-body-size", len(written))

    exchange = Exchange()
    await guest(exchange, handle)
    assert exchange.ended == "not yet"


async def test_the_answer_to_head_may_name_a_length_and_have_no_body(guest: Callable[..., Any]) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        body = await answer(package, out, ("content-length", b"5"))
        await package("types#[static]outgoing-body.finish", body, None)

    exchange = Exchange(method="HEAD")
    await guest(exchange, handle)
    assert exchange.ended is None


async def test_a_response_without_body_must_not_name_a_length(guest: Callable[..., Any]) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        fields = await package("types#[static]fields.from-list", [("content-length", b"5")])
        response = await package("types#[constructor]outgoing-response", fields)
        await package("types#[static]response-outparam.set", out, Ok(response))

    with pytest.raises(HttpFailure, match="content-length says 5"):
        await guest(Exchange(), handle)


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_status_without_content_may_name_a_length(guest: Callable[..., Any], status: int) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        body = await answer(package, out, ("content-length", b"5"), status=status)
        await package("types#[static]outgoing-body.finish", body, None)

    exchange = Exchange()
    await guest(exchange, handle)
    assert exchange.ended is None


@pytest.mark.parametrize("with_body", [False, True])
async def test_a_head_that_cannot_be_sent(guest: Callable[..., Any], with_body: bool) -> None:
    class Strict(Exchange):
        def start(self, status: int, headers: Headers) -> None:
            raise HttpFailure("the response cannot be sent", why="of the exchange's reasons")

    async def handle(package: Any, request: Any, out: Any) -> None:
        if not with_body:
            response = await package(
                "types#[constructor]outgoing-response", await package("types#[constructor]fields")
            )
            await package("types#[static]response-outparam.set", out, Ok(response))
            return
        stream = await package("types#[method]outgoing-body.write", await answer(package, out))
        with pytest.raises(Err) as error:
            await package("streams#[method]output-stream.blocking-write-and-flush", stream, b"hello")
        code = await package("types#http-error-code", error.value.value.value)
        assert code.tag == "internal-error"
        assert "of the exchange's reasons" in code.value

    exchange = Strict()
    with pytest.raises(HttpFailure, match="of the exchange's reasons"):
        await guest(exchange, handle)
    assert exchange.sent == []


@pytest.mark.parametrize(("code", "raised"), [(0, HttpFailure), (1, GuestExit)])
async def test_an_exit_with_0_is_as_good_as_a_return(
    guest: Callable[..., Any], code: int, raised: type[Exception]
) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        await package("types#[static]response-outparam.set", out, Err(Variant("HTTP-request-denied")))
        raise GuestExit(code)

    with pytest.raises(raised) as error:
        await guest(Exchange(), handle)
    assert getattr(error.value, "status", 403) == 403


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Variant("internal-error", "text"), 502),
        (Variant("HTTP-request-body-size", 5), 413),
        (Variant("connection-timeout"), 504),
        (Variant("HTTP-request-denied"), 403),
    ],
)
async def test_an_error_for_an_answer(guest: Callable[..., Any], code: Variant, status: int) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        await package("types#[static]response-outparam.set", out, Err(code))

    with pytest.raises(HttpFailure) as error:
        await guest(Exchange(), handle)
    assert error.value.status == status
    assert code.tag in str(error.value)


async def test_no_answer_at_all(guest: Callable[..., Any]) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        pass

    with pytest.raises(HttpFailure, match="outparam"):
        await guest(Exchange(), handle)


async def read_all(package: Any, request: Any, blocking: bool, length: int) -> tuple[bytes, Any]:
    """Read a request's body to its end in either way; return it and what ``future-trailers`` gave."""
    body = await package("types#[method]incoming-request.consume", request)
    stream = await package("types#[method]incoming-body.stream", body)
    pollable = await package("streams#[method]input-stream.subscribe", stream)
    read = f"streams#[method]input-stream.{'blocking-read' if blocking else 'read'}"
    got = b""
    while True:
        try:
            piece = await package(read, stream, length)
        except Err as error:
            end = error.value
            break
        got += piece
        if not piece:
            await package("poll#[method]pollable.block", pollable)
    assert end == Variant("closed")
    future = await package("types#[static]incoming-body.finish", body)
    trailers = await package("types#[method]future-trailers.get", future)
    assert await package("types#[method]future-trailers.get", future) == Err()
    return got, trailers


@given(
    pieces=st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=9)), max_size=6),
    blocking=st.booleans(),
    length=st.integers(1, 12),
)
def test_a_body_is_read_whole_in_either_way(pieces: list[bytes | None], blocking: bool, length: int) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        got, trailers = await read_all(package, request, blocking, length)
        assert got == b"".join(piece for piece in pieces if piece)
        assert trailers == Ok(Ok(None))
        await package("types#[static]outgoing-body.finish", await answer(package, out), None)

    anyio.run(run_guest, Exchange(*pieces), handle)


async def test_trailers_wait_for_the_end_of_a_body_nobody_reads(guest: Callable[..., Any]) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        body = await package("types#[method]incoming-request.consume", request)
        future = await package("types#[static]incoming-body.finish", body)
        assert await package("types#[method]future-trailers.get", future) is None
        pollable = await package("types#[method]future-trailers.subscribe", future)
        await package("poll#[method]pollable.block", pollable)
        result = await package("types#[method]future-trailers.get", future)
        assert result.value.value.entries() == [("x-t", b"1")]
        await package("types#[static]outgoing-body.finish", await answer(package, out), None)

    await guest(Exchange(b"a", None, b"b", None, trailers=[(b"x-t", b"1")]), handle)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BodyTooLarge(7), Variant("HTTP-request-body-size", 7)),
        (ConnectionResetError("gone"), Variant("connection-terminated")),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_a_body_that_breaks_off(
    guest: Callable[..., Any], error: Exception, code: Variant, late: bool
) -> None:
    async def handle(package: Any, request: Any, out: Any) -> None:
        body = await package("types#[method]incoming-request.consume", request)
        stream = await package("types#[method]incoming-body.stream", body)
        assert await package("streams#[method]input-stream.blocking-read", stream, 10) == b"part"
        with pytest.raises(Err) as failed:
            await package("streams#[method]input-stream.blocking-read", stream, 10)
        assert case(failed) == "last-operation-failed"
        assert await package("types#http-error-code", failed.value.value.value) == code
        future = await package("types#[static]incoming-body.finish", body)
        assert await package("types#[method]future-trailers.get", future) == Ok(Err(code))
        await package("types#[static]outgoing-body.finish", await answer(package, out), None)

    await guest(Exchange(b"part", *([None] if late else []), error), handle)


async def test_what_is_kept_beyond_the_call_is_dead(guest: Callable[..., Any]) -> None:
    kept: dict[str, Any] = {}

    async def handle(package: Any, request: Any, out: Any) -> None:
        kept["package"] = package
        body = await package("types#[method]incoming-request.consume", request)
        kept["in"] = await package("types#[method]incoming-body.stream", body)
        pollable = await package("streams#[method]input-stream.subscribe", kept["in"])
        with anyio.move_on_after(0.002):
            await package("poll#[method]pollable.block", pollable)
        body = await answer(package, out)
        kept["out"] = await package("types#[method]outgoing-body.write", body)

    exchange = Exchange(*[None] * 10_000)
    await guest(exchange, handle)
    with pytest.raises(Err):
        await kept["package"]("streams#[method]input-stream.blocking-read", kept["in"], 1)
    with pytest.raises(Err):
        await kept["package"]("streams#[method]output-stream.check-write", kept["out"])
    left = len(exchange.pieces)
    await anyio.sleep(0.02)
    assert len(exchange.pieces) == left, "nothing reads on in the background"
