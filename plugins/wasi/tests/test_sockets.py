"""Sockets over loopback, through the functions that a guest calls."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.io import Violation, wait_any
from host_plugin_wasi.sockets import lookup, tcp_streams
from host_plugin_wasi.sockets.addresses import from_wit, to_wit
from host_plugin_wasi.sockets.tcp import TcpSocket
from host_plugin_wasi.sockets.udp import UdpSocket
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.plugin import Err, Grants, Variant

Bound = Callable[..., AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.anyio

ALLOW = Grants(network="allow")
LOOPBACK4 = (127, 0, 0, 1)
LOOPBACK6 = (0, 0, 0, 0, 0, 0, 0, 1)
CLOSED = Variant("closed")


def v4(port: int = 0, address: tuple[int, ...] = LOOPBACK4) -> Variant:
    return Variant("ipv4", {"port": port, "address": address})


def v6(port: int = 0, address: tuple[int, ...] = LOOPBACK6) -> Variant:
    return Variant("ipv6", {"port": port, "flow-info": 0, "address": address, "scope-id": 0})


def open_sockets() -> int:
    links = (Path("/proc/self/fd").joinpath(e.name) for e in Path("/proc/self/fd").iterdir())
    return sum(1 for link in links if link.is_symlink() and os.path.realpath(link).find("socket:") >= 0)


@pytest.fixture
async def net(bound: Bound) -> AsyncIterator[Any]:
    before = open_sockets()
    async with bound("wasi:sockets", ALLOW) as sockets:
        yield sockets
    assert open_sockets() == before


def refused(code: str, call: Any) -> None:
    with pytest.raises(Err) as caught:
        call()
    assert caught.value.value == code


async def tcp(net: Any, family: str = "ipv4") -> TcpSocket:
    made = await net("tcp-create-socket#create-tcp-socket", family)
    assert isinstance(made, TcpSocket)
    return made


async def udp(net: Any, family: str = "ipv4") -> UdpSocket:
    made = await net("udp-create-socket#create-udp-socket", family)
    assert isinstance(made, UdpSocket)
    return made


async def listener(net: Any, address: Variant | None = None) -> TcpSocket:
    address = address or v4()
    made = await tcp(net, address.tag)
    made.start_bind(None, address)
    made.finish_bind()
    made.start_listen()
    made.finish_listen()
    return made


async def connect(net: Any, address: Variant) -> tuple[TcpSocket, Any, Any]:
    made = await tcp(net, address.tag)
    made.start_connect(None, address)
    await made.subscribe().block()
    return made, *made.finish_connect()


async def pair(net: Any) -> tuple[tuple[TcpSocket, Any, Any], tuple[TcpSocket, Any, Any]]:
    server = await listener(net)
    client = await connect(net, server.local_address())
    await server.subscribe().block()
    accepted = server.accept()
    server.drop()
    return client, accepted


async def read_all(stream: Any) -> bytes:
    got = bytearray()
    reason = None
    while reason is None:
        try:
            got += await stream.blocking_read(1 << 20)
        except Err as error:
            reason = error.value
    assert reason == CLOSED
    return bytes(got)


# ---------------------------------------------------------------- denied


async def test_everything_is_denied_by_default(bound: Bound) -> None:
    async with bound("wasi:sockets") as net:
        network = await net("instance-network#instance-network")
        for function, *args in (
            ("tcp-create-socket#create-tcp-socket", "ipv4"),
            ("udp-create-socket#create-udp-socket", "ipv6"),
            ("ip-name-lookup#resolve-addresses", network, "localhost"),
            ("ip-name-lookup#resolve-addresses", network, "127.0.0.1"),
        ):
            with pytest.raises(Err) as caught:
                await net(function, *args)
            assert caught.value.value == "access-denied"


# ---------------------------------------------------------------- TCP


@pytest.mark.parametrize("address", [v4(), v6()], ids=["ipv4", "ipv6"])
async def test_echo(net: Any, address: Variant) -> None:
    server = await listener(net, address)
    here = server.local_address()
    assert here.value["port"] > 0
    refused("would-block", server.accept)

    client, client_in, client_out = await connect(net, here)
    assert client.remote_address() == here
    assert await wait_any([server.subscribe()]) == [0]
    accepted, *ends = server.accept()
    server_in, server_out = (cast(Any, end) for end in ends)
    assert accepted.remote_address() == client.local_address()
    assert accepted.address_family() == address.tag

    await client_out.blocking_write_and_flush(b"hello")
    assert await server_in.blocking_read(3) == b"hel"
    assert await server_in.blocking_read(100) == b"lo"
    assert server_in.read(100) == b""
    await server_out.blocking_write_and_flush(b"hello to you")
    assert await client_in.blocking_read(100) == b"hello to you"
    client.shutdown("send")
    assert await read_all(server_in) == b""
    with pytest.raises(Err) as caught:
        client_out.check_write()
    assert caught.value.value == CLOSED
    accepted.shutdown("both")
    for thing in (accepted, server_in, server_out):
        thing.drop()
    assert await read_all(client_in) == b""
    assert client.remote_address() == here  # the system has forgotten it by now
    for thing in (client, client_in, client_out, server):
        thing.drop()


async def test_a_slow_reader_holds_the_writer_back_and_nothing_is_lost(net: Any) -> None:
    (client, client_in, client_out), (accepted, server_in, server_out) = await pair(net)
    data = os.urandom(8 << 20)
    writer = asyncio.ensure_future(client_out.blocking_write_and_flush(data))
    for _ in range(200):
        await asyncio.sleep(0)
    assert not writer.done()
    assert client_out.check_write() == 0
    assert not client_out.subscribe().ready()
    with pytest.raises(Violation):
        client_out.write(b"more")
    reader = asyncio.ensure_future(read_all(server_in))
    await writer
    assert client_out.check_write() == tcp_streams.PERMIT
    client_out.drop()
    assert await reader == data
    for thing in (client, client_in, accepted, server_in, server_out):
        thing.drop()


async def test_what_was_written_before_a_drop_arrives(net: Any) -> None:
    (client, client_in, client_out), (accepted, server_in, server_out) = await pair(net)
    sent = 0
    while client_out.check_write():
        client_out.write(b"x" * tcp_streams.PERMIT)
        sent += tcp_streams.PERMIT
    for thing in (client_out, client_in, client):
        thing.drop()
    assert len(await read_all(server_in)) == sent
    for thing in (accepted, server_in, server_out):
        thing.drop()


async def test_what_nobody_reads_is_given_up_when_the_workload_ends(bound: Bound) -> None:
    before = open_sockets()
    async with bound("wasi:sockets", ALLOW) as net:
        (client, client_in, client_out), _ = await pair(net)
        while client_out.check_write():
            client_out.write(b"x" * tcp_streams.PERMIT)
        for thing in (client_out, client_in, client):
            thing.drop()
        assert open_sockets() == before + 2
        timer = client_out._linger
        assert timer is not None
    assert timer.cancelled()
    assert open_sockets() == before


async def test_poll_over_sockets_and_sleepers_wakes_for_the_right_one(net: Any, bound: Bound) -> None:
    one, two = await pair(net), await pair(net)
    async with bound("wasi:clocks") as clocks:
        never = await clocks("monotonic-clock#subscribe-duration", 2**64 - 1)
    pollables = [one[1][1].subscribe(), two[1][1].subscribe(), never, one[0][2].subscribe()]
    assert await wait_any(pollables) == [3]
    task = asyncio.ensure_future(wait_any(pollables[:3]))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    two[0][2].write(b"x")
    assert await task == [1]
    assert not one[1][1]._handle.readable._loop  # not watched any more


async def test_failed_connects(net: Any) -> None:
    gone = await listener(net)
    address = gone.local_address()
    gone.drop()
    client = await tcp(net)
    refused("not-in-progress", client.finish_connect)
    client.start_connect(None, address)
    refused("concurrency-conflict", lambda: client.start_connect(None, address))
    refused("concurrency-conflict", client.remote_address)
    await client.subscribe().block()
    refused("connection-refused", client.finish_connect)
    refused("not-in-progress", client.finish_connect)
    refused("invalid-state", lambda: client.start_connect(None, address))
    refused("invalid-state", client.local_address)
    client.drop()


async def test_a_broken_connection_is_an_error_with_a_code(net: Any) -> None:
    (client, client_in, client_out), (accepted, server_in, server_out) = await pair(net)
    linger = (1).to_bytes(4, "little") + bytes(4)  # a reset instead of a goodbye
    accepted._handle.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    accepted._handle.close()
    with pytest.raises(Err) as caught:
        await client_in.blocking_read(1)
    assert caught.value.value.tag == "last-operation-failed"
    error = caught.value.value.value
    assert await net("network#network-error-code", error) == "connection-reset"
    assert error.code_of("filesystem") is None
    with pytest.raises(Err) as caught:
        client_in.read(1)
    assert caught.value.value == CLOSED
    with suppress(Err):  # the first write after a reset may be the one that notices
        for _ in range(3):
            client_out.write(b"x")
    with pytest.raises(Err) as caught:
        client_out.check_write()
    assert caught.value.value == CLOSED
    for thing in (client, client_in, client_out, accepted, server_in, server_out):
        thing.drop()


async def test_the_order_of_steps_is_enforced(net: Any) -> None:
    made = await tcp(net)
    refused("not-in-progress", made.finish_bind)
    refused("not-in-progress", made.finish_listen)
    refused("invalid-state", made.start_listen)
    refused("invalid-state", made.accept)
    refused("invalid-state", made.local_address)
    refused("invalid-state", made.remote_address)
    refused("invalid-state", lambda: made.shutdown("both"))
    made.start_bind(None, v4())
    refused("concurrency-conflict", lambda: made.start_bind(None, v4()))
    refused("concurrency-conflict", made.start_listen)
    refused("concurrency-conflict", made.local_address)
    assert made.subscribe().ready()
    made.finish_bind()
    refused("invalid-state", lambda: made.start_bind(None, v4()))
    assert not made.is_listening()
    made.start_listen()
    refused("concurrency-conflict", made.start_listen)
    made.finish_listen()
    assert made.is_listening()
    refused("invalid-state", lambda: made.start_connect(None, v4(1)))
    made.set_listen_backlog_size(2**64 - 1)
    refused("invalid-argument", lambda: made.set_listen_backlog_size(0))
    second = await tcp(net)
    refused("address-in-use", lambda: second.start_bind(None, made.local_address()))
    second.drop()
    made.drop()


MAPPED = (0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1)


@pytest.mark.parametrize(
    ("family", "address"),
    [
        ("ipv4", v6(1)), ("ipv6", v4(1)), ("ipv6", v6(1, MAPPED)), ("ipv4", v4(0)),
        ("ipv4", v4(1, (0, 0, 0, 0))), ("ipv6", v6(1, (0,) * 8)), ("ipv4", v4(1, (255,) * 4)),
        ("ipv4", v4(1, (224, 0, 0, 1))), ("ipv6", v6(1, (0xFF02, 0, 0, 0, 0, 0, 0, 1))),
    ],
)  # fmt: skip
async def test_addresses_that_cannot_be_connected_to(net: Any, family: str, address: Variant) -> None:
    made = await tcp(net, family)
    refused("invalid-argument", lambda: made.start_connect(None, address))
    made.start_bind(None, v4() if family == "ipv4" else v6())  # still usable
    made.drop()


@pytest.mark.parametrize(
    ("family", "address"),
    [("ipv4", v6()), ("ipv6", v4()), ("ipv6", v6(0, MAPPED)), ("ipv4", v4(0, (224, 0, 0, 1)))],
)
async def test_addresses_that_cannot_be_bound(net: Any, family: str, address: Variant) -> None:
    made = await tcp(net, family)
    refused("invalid-argument", lambda: made.start_bind(None, address))
    made.drop()


async def test_an_address_of_another_machine_cannot_be_bound(net: Any) -> None:
    made = await tcp(net)
    refused("address-not-bindable", lambda: made.start_bind(None, v4(0, (192, 0, 2, 1))))
    made.drop()


async def test_tcp_options(net: Any) -> None:
    second = 10**9
    for family in ("ipv4", "ipv6"):
        made = await tcp(net, family)
        assert made.keep_alive_enabled() is False
        made.set_keep_alive_enabled(True)
        assert made.keep_alive_enabled() is True
        for name, given_value, kept in (
            ("keep_alive_idle_time", 5 * second, 5 * second),
            ("keep_alive_idle_time", 1, second),
            ("keep_alive_interval", 3 * second - 1, 3 * second),
            ("keep_alive_interval", 2**64 - 1, 32_767 * second),
            ("keep_alive_count", 9, 9),
            ("keep_alive_count", 2**32 - 1, 127),
            ("hop_limit", 1, 1),
            ("hop_limit", 255, 255),
            ("receive_buffer_size", 65_536, 65_536),
            ("send_buffer_size", 65_536, 65_536),
        ):
            getattr(made, f"set_{name}")(given_value)
            assert getattr(made, name)() == kept, name
            refused("invalid-argument", partial(getattr(made, f"set_{name}"), 0))
        made.set_receive_buffer_size(2**64 - 1)
        made.drop()


async def test_shutdown_of_reading(net: Any) -> None:
    (client, client_in, client_out), (accepted, server_in, server_out) = await pair(net)
    server_out.write(b"x")
    client.shutdown("receive")
    with pytest.raises(Err):
        client_in.read(1)
    client_out.write(b"y")
    client.shutdown("both")
    assert await read_all(server_in) == b"y"
    for thing in (client, client_in, client_out, accepted, server_in, server_out):
        thing.drop()


async def test_sockets_are_counted_with_the_files(bound: Bound, tmp_path: Path) -> None:
    allowance = Allowance(3)
    grants = Grants(network="allow", dirs={"/": tmp_path})
    shared = {Allowance: allowance}
    async with (
        bound("wasi:sockets", grants, shared) as net,
        bound("wasi:filesystem", grants, shared) as files,
    ):
        server = await listener(net)
        client = await tcp(net)
        client.start_connect(None, server.local_address())
        await server.subscribe().block()
        refused("new-socket-limit", server.accept)
        with pytest.raises(Err) as caught:
            await udp(net)
        assert caught.value.value == "new-socket-limit"
        ((root, _),) = await files("preopens#get-directories")
        with pytest.raises(Err) as caught:
            await root.open_at(frozenset(), "f", frozenset({"create"}), frozenset())
        assert caught.value.value == "insufficient-memory"
        client.drop()
        (await root.open_at(frozenset(), "f", frozenset({"create"}), frozenset())).drop()
        with pytest.raises(Err):
            await root.open_at(frozenset(), "missing", frozenset(), frozenset())
        (await udp(net)).drop()
        server.drop()
        root.drop()
        assert allowance.used == 1
    assert allowance.used == 0


# ---------------------------------------------------------------- UDP


async def bound_udp(net: Any, address: Variant | None = None) -> UdpSocket:
    address = address or v4()
    made = await udp(net, address.tag)
    made.start_bind(None, address)
    made.finish_bind()
    return made


async def receive(stream: Any) -> list[dict[str, Any]]:
    await stream.subscribe().block()
    got = stream.receive(100)
    assert isinstance(got, list)
    return got


@pytest.mark.parametrize("address", [v4(), v6()], ids=["ipv4", "ipv6"])
async def test_datagrams_to_all_and_from_all(net: Any, address: Variant) -> None:
    one, two = await bound_udp(net, address), await bound_udp(net, address)
    one_in, one_out = one.stream(None)
    two_in, two_out = two.stream(None)
    assert two_in.receive(10) == []
    assert two_in.receive(0) == []
    permit = one_out.check_send()
    assert permit > 0
    to_two = {"data": b"hi", "remote-address": two.local_address()}
    assert one_out.send([to_two, {**to_two, "data": b""}]) == 2
    got = await receive(two_in)
    if len(got) == 1:
        got += await receive(two_in)
    assert [d["data"] for d in got] == [b"hi", b""]
    assert got[0]["remote-address"] == one.local_address()
    two_out.check_send()
    assert two_out.send([{"data": b"back", "remote-address": got[0]["remote-address"]}]) == 1
    assert (await receive(one_in))[0]["data"] == b"back"
    refused("invalid-argument", lambda: one_out.send([{"data": b"", "remote-address": None}]))
    refused("invalid-state", one.remote_address)
    assert one.address_family() == address.tag
    for thing in (one, two, one_in, one_out, two_in, two_out):
        thing.drop()


async def test_a_connected_socket_hears_one_peer_only(net: Any) -> None:
    one, two, three = await bound_udp(net), await bound_udp(net), await bound_udp(net)
    old_in, old_out = one.stream(None)
    one_in, one_out = one.stream(two.local_address())
    refused("invalid-state", lambda: old_in.receive(1))
    refused("invalid-state", old_out.check_send)
    assert one.remote_address() == two.local_address()
    two_in, two_out = two.stream(None)
    three_in, three_out = three.stream(None)
    for out, data in ((three_out, b"3"), (two_out, b"2")):
        assert out.check_send()
        assert out.send([{"data": data, "remote-address": one.local_address()}]) == 1
    assert [d["data"] for d in await receive(one_in)] == [b"2"]
    assert one_out.check_send()
    assert one_out.send([{"data": b"a", "remote-address": None}]) == 1
    assert one_out.send([{"data": b"b", "remote-address": two.local_address()}]) == 1
    refused(
        "invalid-argument", lambda: one_out.send([{"data": b"c", "remote-address": three.local_address()}])
    )
    assert {d["data"] for d in [*await receive(two_in), *two_in.receive(9)]} <= {b"a", b"b"}
    all_in, all_out = one.stream(None)  # no longer connected
    refused("invalid-state", one.remote_address)
    assert three_out.send([{"data": b"3", "remote-address": one.local_address()}]) == 1
    assert [d["data"] for d in await receive(all_in)] == [b"3"]
    things = (one, two, three, old_in, old_out, one_in, one_out, two_in, two_out, three_in, three_out)
    for thing in (*things, all_in, all_out):
        thing.drop()


async def test_one_receive_brings_no_more_than_a_read(net: Any) -> None:
    one, two = await bound_udp(net), await bound_udp(net)
    (one_in, one_out), (two_in, two_out) = one.stream(None), two.stream(None)
    data = bytes(40_000)
    for _ in range(4):
        assert one_out.check_send()
        assert one_out.send([{"data": data, "remote-address": two.local_address()}]) == 1
    first = await receive(two_in)
    assert 1 <= len(first) <= 2  # the second goes over `READ_LIMIT`
    rest = [len(datagram["data"]) for datagram in two_in.receive(2**64 - 1)]
    assert rest == [40_000] * len(rest)
    assert len(rest) <= 2
    for thing in (one, two, one_in, one_out, two_in, two_out):
        thing.drop()


async def test_sending_needs_a_permit(net: Any) -> None:
    one = await bound_udp(net)
    one_in, one_out = one.stream(None)
    datagram = {"data": b"x", "remote-address": one.local_address()}
    with pytest.raises(Violation):
        one_out.send([datagram])
    permit = one_out.check_send()
    with pytest.raises(Violation):
        one_out.send([datagram] * (permit + 1))
    assert one_out.send([datagram]) == 1
    with pytest.raises(Violation):
        one_out.send([datagram] * permit)
    big = {"data": bytes(70_000), "remote-address": one.local_address()}
    refused("datagram-too-large", lambda: one_out.send([big]))
    assert one_out.send([datagram, big, datagram]) == 1
    for thing in (one, one_in, one_out):
        thing.drop()


async def test_udp_steps_and_options(net: Any) -> None:
    made = await udp(net)
    refused("not-in-progress", made.finish_bind)
    refused("invalid-state", lambda: made.stream(None))
    refused("invalid-state", made.local_address)
    refused("invalid-argument", lambda: made.start_bind(None, v6()))
    made.start_bind(None, v4())
    refused("concurrency-conflict", lambda: made.start_bind(None, v4()))
    refused("concurrency-conflict", made.local_address)
    made.finish_bind()
    refused("invalid-state", lambda: made.start_bind(None, v4()))
    refused("invalid-argument", lambda: made.stream(v4(0)))
    refused("invalid-argument", lambda: made.stream(v4(1, (0, 0, 0, 0))))
    made.set_unicast_hop_limit(7)
    assert made.unicast_hop_limit() == 7
    refused("invalid-argument", lambda: made.set_unicast_hop_limit(0))
    made.set_send_buffer_size(65_536)
    assert made.send_buffer_size() == 65_536
    assert made.subscribe().ready()
    made.drop()


# ---------------------------------------------------------------- names


async def addresses(net: Any, name: str) -> list[Variant]:
    stream = await net("ip-name-lookup#resolve-addresses", None, name)
    await stream.subscribe().block()
    found = []
    while (address := stream.resolve_next_address()) is not None:
        found.append(address)
    assert stream.resolve_next_address() is None
    return found


async def test_lookup(net: Any) -> None:
    assert await addresses(net, "127.0.0.1") == [Variant("ipv4", LOOPBACK4)]
    assert await addresses(net, "::1") == [Variant("ipv6", LOOPBACK6)]
    found = await addresses(net, "localhost")
    assert found
    assert set(found) <= {Variant("ipv4", LOOPBACK4), Variant("ipv6", LOOPBACK6)}


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\0b", "a..b", "x" * 300, "::ffff:127.0.0.1", "a/b", "[::1]", "ä." * 200]
)
async def test_what_is_no_name_is_refused(net: Any, name: str) -> None:
    with pytest.raises(Err) as caught:
        await net("ip-name-lookup#resolve-addresses", None, name)
    assert caught.value.value == "invalid-argument"


async def test_a_long_name_is_refused_before_it_is_looked_at(
    net: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_ascii", lambda name: 1 / 0)
    with pytest.raises(Err) as caught:
        await net("ip-name-lookup#resolve-addresses", None, "ä." * 1_000_000)
    assert caught.value.value == "invalid-argument"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (socket.EAI_NONAME, "name-unresolvable"),
        (socket.EAI_AGAIN, "temporary-resolver-failure"),
        (socket.EAI_FAIL, "permanent-resolver-failure"),
    ],
)
async def test_lookup_failures(net: Any, monkeypatch: pytest.MonkeyPatch, number: int, code: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(number, "as asked")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    stream = await net("ip-name-lookup#resolve-addresses", None, "nowhere.invalid")
    refused("would-block", stream.resolve_next_address)
    await stream.subscribe().block()
    for _ in range(2):
        refused(code, stream.resolve_next_address)


async def test_lookups_are_bounded_and_end_with_the_workload(
    bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), threading.Event()

    def looked_up(host: str) -> list[str]:
        begun.set()
        gate.wait(30)
        return []

    monkeypatch.setattr(lookup, "_addresses", looked_up)
    async with bound("wasi:sockets", ALLOW) as net:
        streams = [await net("ip-name-lookup#resolve-addresses", None, "a.invalid") for _ in range(64)]
        with pytest.raises(Err) as caught:
            await net("ip-name-lookup#resolve-addresses", None, "b.invalid")
        assert caught.value.value == "temporary-resolver-failure"
        await asyncio.to_thread(begun.wait, 30)
    await asyncio.sleep(0)
    await streams[-1].subscribe().block()
    refused("temporary-resolver-failure", streams[-1].resolve_next_address)
    gate.set()
    await streams[0].subscribe().block()
    assert streams[0].resolve_next_address() is None


# ---------------------------------------------------------------- addresses

BYTE, WORD = st.integers(0, 255), st.integers(0, 65_535)


@given(st.tuples(BYTE, BYTE, BYTE, BYTE), WORD)
def test_ipv4_addresses_survive_the_way_there_and_back(address: tuple[int, ...], port: int) -> None:
    assert to_wit(from_wit(v4(port, address))) == v4(port, address)


@given(st.tuples(*[WORD] * 8), WORD, st.integers(0, 2**20), st.integers(0, 2**31))
def test_ipv6_addresses_survive(address: tuple[int, ...], port: int, flow: int, scope: int) -> None:
    wit = Variant("ipv6", {"port": port, "flow-info": flow, "address": address, "scope-id": scope})
    assert to_wit(from_wit(wit)) == wit
