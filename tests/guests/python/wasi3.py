"""Serves HTTP by WASI 0.3, well and badly: the path says how. Also a command, whose first argument does."""

import asyncio
import json

import componentize_py_async_support
import wit_world
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import (
    client,
    environment,
    ip_name_lookup,
    monotonic_clock,
    preopens,
    random,
    stdin,
    stdout,
)
from wit_world.imports import exit as leaving
from wit_world.imports.wasi_filesystem_types import DescriptorFlags, OpenFlags, PathFlags
from wit_world.imports.wasi_http_types import (
    ErrorCode_ConnectionTerminated,
    ErrorCode_HttpProtocolError,
    Fields,
    Method_Other,
    Request,
    RequestOptions,
    Response,
    Scheme_Http,
)
from wit_world.imports.wasi_sockets_types import (
    IpAddressFamily,
    IpSocketAddress_Ipv4,
    Ipv4SocketAddress,
    TcpSocket,
    UdpSocket,
)

MS = 1_000_000
LOCAL = (127, 0, 0, 1)
spawn = componentize_py_async_support.spawn
outcome_future = wit_world.result_unit_wasi_http_types_error_code_future
trailers_future = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future


async def pump(source, sink):
    with source, sink:
        while not source.writer_dropped:
            if chunk := await source.read(16 * 1024):
                await sink.write_all(chunk)


async def write(sink, *pieces):
    with sink:
        for piece in pieces:
            await sink.write_all(piece)


async def say(text):
    sink, source = wit_world.byte_stream()
    spawn(write(sink, f"{text}\n".encode()))
    await stdout.write_via_stream(source).read()


def no_trailers():
    return trailers_future(lambda: Ok(None))[1]


def answer(*pieces, headers=(), trailers=None, status=200):
    sink, source = wit_world.byte_stream()
    spawn(write(sink, *pieces))
    response, outcome = Response.new(Fields.from_list(list(headers)), source, trailers or no_trailers())
    response.set_status_code(status)
    return response, outcome


async def attempt(call, *args):
    try:
        return repr(call(*args))
    except Err as error:
        return type(error.value).__name__


def stream(*pieces):
    sink, source = wit_world.byte_stream()

    async def write():
        with sink:
            for piece in pieces:
                await sink.write_all(piece)

    spawn(write())
    return source


async def whole_of(pair):
    source, outcome = pair
    data = b""
    with source:
        while not source.writer_dropped:
            data += await source.read(1 << 14)
    return data, name(await outcome.read())


def name(result):
    return type(result.value).__name__ if isinstance(result, Err) else "ok"


async def attempted(coroutine):
    try:
        return repr(await coroutine)
    except Err as error:
        return type(error.value).__name__


LEFT = []
"""What requests have left behind, for as long as the instance lives."""


class Handler(exports.Handler):
    waiting = 0
    most = 0
    served = 0

    async def handle(self, request: Request) -> Response:
        path, _, query = (request.get_path_with_query() or "").partition("?")
        Handler.served += 1
        return await getattr(self, path.strip("/").replace("-", "_"))(request, query)

    async def hello(self, request, query):
        return answer(b"hello, p3\n", headers=[("content-type", b"text/plain")])[0]

    async def echo(self, request, query):
        """Hand the body on as it comes, and the trailers."""
        source, trailers = Request.consume_body(request, outcome_future(lambda: Ok(None))[1])
        sink, body = wit_world.byte_stream()
        spawn(pump(source, sink))
        return Response.new(Fields(), body, trailers)[0]

    async def info(self, request, query):
        said = [type(request.get_method()).__name__, type(request.get_scheme()).__name__]
        said += [request.get_authority(), request.get_path_with_query()]
        said += [sorted(name for name, _ in request.get_headers().copy_all())]
        return answer(json.dumps(said).encode())[0]

    async def fields(self, request, query):
        headers, made = request.get_headers(), Fields()
        said = [await attempt(headers.append, "x", b"1"), await attempt(headers.clone().append, "x", b"1")]
        said += [await attempt(made.get, "a b"), await attempt(made.has, "a b")]
        said += [await attempt(made.append, "a b", b""), await attempt(made.set, "host", [b"x"])]
        made.append("X-One", b"1")
        made.append("x-one", b"2")
        said += [repr(made.copy_all())]
        made.set("X-ONE", [])
        said += [repr(made.copy_all())]
        said += [await attempt(made.append, "x", b"y" * (1 << 18))]
        made.append("x-two", b"2")
        said += [await attempt(made.get_and_delete, "X-Two"), repr(made.has("x-two"))]
        said += [await attempt(Fields.from_list, [("upgrade", b"x")])]
        return answer(json.dumps(said).encode())[0]

    async def requests(self, request, query):
        made, outcome = Request.new(Fields(), None, no_trailers(), RequestOptions())
        made.set_method(Method_Other("GET"))
        said = [type(made.get_method()).__name__, await attempt(made.set_method, Method_Other("a b"))]
        said += [await attempt(made.get_options().set_connect_timeout, 1)]
        said += [await attempt(made.get_headers().append, "x", b"1")]
        said += [await attempt(made.set_authority, "a:b"), await attempt(made.set_authority, "[::1]:80")]
        response = answer()[0]
        said += [await attempt(response.set_status_code, 99), await attempt(response.set_status_code, 100)]
        made.__exit__(None, None, None)
        said += [type(await outcome.read()).__name__]
        return answer(json.dumps(said).encode())[0]

    async def wait(self, request, query):
        Handler.waiting += 1
        Handler.most = max(Handler.most, Handler.waiting)
        await monotonic_clock.wait_for(int(query) * MS)
        Handler.waiting -= 1
        return answer(b"waited")[0]

    async def together(self, request, query):
        return answer(f"{Handler.most} {Handler.served}".encode())[0]

    async def clocks(self, request, query):
        before = monotonic_clock.now()
        await monotonic_clock.wait_until(0)
        await asyncio.gather(*(monotonic_clock.wait_for(5 * MS) for _ in range(5)))
        took = monotonic_clock.now() - before
        return answer(json.dumps([took >= 5 * MS, len(random.get_random_bytes(1 << 20)) > 0]).encode())[0]

    async def fail(self, request, query):
        raise Err(ErrorCode_HttpProtocolError())

    async def trap(self, request, query):
        raise AssertionError("as asked")

    async def answer_then_trap(self, request, query):
        async def later():
            await monotonic_clock.wait_for(50 * MS)
            raise AssertionError("as asked")

        sink, source = wit_world.byte_stream()

        async def begin():
            await sink.write_all(b"some")
            await later()

        spawn(begin())
        return Response.new(Fields(), source, no_trailers())[0]

    async def too_long(self, request, query):
        return self.told(*answer(b"123", b"456", headers=[("content-length", b"3")]))

    async def too_short(self, request, query):
        return self.told(*answer(b"12", headers=[("content-length", b"3")]))

    async def whole_answer(self, request, query):
        return self.told(*answer(b"x" * (1 << 20)))

    def told(self, response, outcome):
        async def tell():
            said = await outcome.read()
            await say(f"outcome {said!r}")

        spawn(tell())
        return response

    async def broken_off(self, request, query):
        writer, trailers = trailers_future(lambda: Ok(None))
        spawn(writer.write(Err(ErrorCode_ConnectionTerminated())))
        return answer(b"half", trailers=trailers)[0]

    async def lengths(self, request, query):
        """Answer with the status and the lengths that the query names: ``200,3,3``."""
        status, *lengths = query.split(",")
        headers = [("content-length", length.encode()) for length in lengths]
        return answer(*([b"abc"] if status == "200" else []), headers=headers, status=int(status))[0]

    async def leave(self, request, query):
        """Answer, and exit with a code when all of the answer has been taken."""
        response, outcome = answer(b"all")

        async def later():
            await outcome.read()
            leaving.exit_with_code(int(query))

        spawn(later())
        return response

    async def litter(self, request, query):
        """Make bodies that nobody reads, and requests whose fate nobody asks for, and let go of none."""
        for _ in range(int(query)):
            sink, source = wit_world.byte_stream()
            made = Request.new(Fields(), source, no_trailers(), None)
            LEFT.append((sink, made))
        source, trailers = Request.consume_body(request, outcome_future(lambda: Ok(None))[1])
        LEFT.append((source, trailers))
        return answer(b"left")[0]

    async def forbidden_trailers(self, request, query):
        writer, trailers = trailers_future(lambda: Ok(None))
        spawn(writer.write(Ok(Fields.from_list([("content-length", b"3")]))))
        return answer(b"all", trailers=trailers)[0]

    async def after(self, request, query):
        async def later():
            await monotonic_clock.wait_for(100 * MS)
            await say("after the answer")

        spawn(later())
        return answer(b"before")[0]

    async def forever(self, request, query):
        spawn(monotonic_clock.wait_for(3600 * 1000 * MS))
        return answer(b"answered")[0]

    async def slow(self, request, query):
        sink, source = wit_world.byte_stream()

        async def drip():
            with sink:
                for _ in range(int(query)):
                    await sink.write_all(b"." * 1024)
                    await monotonic_clock.wait_for(10 * MS)

        spawn(drip())
        return self.told(*Response.new(Fields(), source, no_trailers()))

    async def send(self, request, query):
        """Send the request on to the authority and path that the query names, and answer with the answer."""
        (authority, _, path), method = query.partition("/"), request.get_method()
        source, trailers = Request.consume_body(request, outcome_future(lambda: Ok(None))[1])
        sink, body = wit_world.byte_stream()
        spawn(pump(source, sink))
        made, _ = Request.new(Fields(), body, trailers, None)
        made.set_method(method)
        made.set_scheme(Scheme_Http())
        made.set_authority(authority)
        made.set_path_with_query(f"/{path}" if path else None)
        try:
            response = await client.send(made)
        except Err as error:
            return answer(type(error.value).__name__.encode(), status=418)[0]
        source, trailers = Response.consume_body(response, outcome_future(lambda: Ok(None))[1])
        sink, body = wit_world.byte_stream()
        spawn(pump(source, sink))
        return Response.new(Fields(), body, trailers)[0]

    async def wrong_length(self, request, query):
        """Send a request whose body is not as long as it says."""
        sink, body = wit_world.byte_stream()
        spawn(write(sink, b"123456"))
        made, outcome = Request.new(Fields.from_list([("content-length", b"3")]), body, no_trailers(), None)
        made.set_scheme(Scheme_Http())
        made.set_authority(query)
        try:
            await client.send(made)
        except Err as error:
            return answer(repr([error.value, (await outcome.read()).value]).encode())[0]
        return answer(repr(await outcome.read()).encode())[0]

    async def files(self, request, query):
        root = preopens.get_directories()[0][0]
        rights = DescriptorFlags.READ | DescriptorFlags.WRITE
        file = await root.open_at(PathFlags(0), "a", OpenFlags.CREATE, rights)
        told = [name(await file.write_via_stream(stream(b"hello ", b"world"), 0).read())]
        told += [name(await file.append_via_stream(stream(b"!")).read())]
        told += [await whole_of(file.read_via_stream(6)), (await file.stat()).size]
        told += [type(await file.get_type()).__name__, await file.is_same_object(file)]
        told += [await attempted(root.open_at(PathFlags(0), "../x", OpenFlags(0), rights))]
        told += [await attempted(root.open_at(PathFlags(0), "none", OpenFlags(0), rights))]
        told += [await whole_of(root.read_via_stream(0))]
        await root.create_directory_at("d")
        entries, outcome = root.read_directory()
        found = []
        with entries:
            while not entries.writer_dropped:
                found += [(e.name, type(e.type).__name__) for e in await entries.read(100)]
        told += [sorted(found), name(await outcome.read())]
        return answer(repr(told).encode())[0]

    async def listing(self, request, query):
        """Begin to list a directory, and stop."""
        root = preopens.get_directories()[0][0]
        entries, outcome = root.read_directory()
        with entries:
            first = await entries.read(1)
        return answer(f"{len(first) > 0} {name(await outcome.read())}".encode())[0]

    async def sockets(self, request, query):
        server = TcpSocket.create(IpAddressFamily.IPV4)
        server.bind(IpSocketAddress_Ipv4(Ipv4SocketAddress(0, LOCAL)))
        connections = server.listen()
        client = TcpSocket.create(IpAddressFamily.IPV4)

        async def accept():
            with connections:
                [accepted] = await connections.read(1)
            data = await whole_of(accepted.receive())
            return data, name(await accepted.send(stream(b"pong")).read())

        async def connect():
            await client.connect(server.get_local_address())
            sent = name(await client.send(stream(b"pi", b"ng")).read())
            again = name(await client.send(stream(b"x")).read())
            return sent, again, await whole_of(client.receive()), (await whole_of(client.receive()))[1]

        told = await asyncio.gather(accept(), connect())
        one, two = (UdpSocket.create(IpAddressFamily.IPV4) for _ in range(2))
        one.bind(IpSocketAddress_Ipv4(Ipv4SocketAddress(0, LOCAL)))
        await two.send(b"datagram", one.get_local_address())
        data, _ = await one.receive()
        told += [data, [repr(a.value) for a in await ip_name_lookup.resolve_addresses("127.0.0.1")]]
        return answer(repr(told).encode())[0]

    async def log(self, request, query):
        """Say something to standard output, before and after a wait."""
        print(f"begins {query}")
        await monotonic_clock.wait_for(300 * MS)
        print(f"ends {query}")
        return answer(b"logged")[0]

    async def ended(self, request, query):
        """Wait for how a stream has ended that was dropped, of a connection over which nothing comes."""
        server, client = (TcpSocket.create(IpAddressFamily.IPV4) for _ in range(2))
        server.bind(IpSocketAddress_Ipv4(Ipv4SocketAddress(0, LOCAL)))
        with server.listen() as connections:
            await client.connect(server.get_local_address())
            [accepted] = await connections.read(1)
        data, outcome = client.receive()
        data.__exit__(None, None, None)
        told = name(await outcome.read())
        accepted.__exit__(None, None, None)
        return answer(told.encode())[0]

    async def dropped(self, request, query):
        """Let go of a listening socket, and of its connections, which nobody has looked at."""
        server = TcpSocket.create(IpAddressFamily.IPV4)
        with server, server.listen():
            pass
        return answer(b"dropped")[0]

    async def denied(self, request, query):
        try:
            TcpSocket.create(IpAddressFamily.IPV4)
        except Err as error:
            looked = await attempted(ip_name_lookup.resolve_addresses("x"))
            return answer(f"{type(error.value).__name__} {looked}".encode())[0]


class Run(exports.Run):
    async def run(self) -> None:
        await getattr(self, environment.get_arguments()[0])()

    async def hello(self):
        data, outcome = await whole_of(stdin.read_via_stream())
        await say(f"{environment.get_arguments()} {environment.get_environment()} {data} {outcome}")

    async def late(self):
        """Return before the output is written."""

        async def later():
            await monotonic_clock.wait_for(50 * MS)
            await say("written late")

        spawn(later())

    async def fail(self):
        raise Err(None)

    async def leave(self):
        leaving.exit_with_code(7)
