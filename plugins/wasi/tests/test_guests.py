"""Components that use WASI, run by the engine."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import guests
import pytest
import wasmtime
from blockbuster import blockbuster_ctx
from wasmplex.component import read
from wasmplex.component.shape import InstanceType
from wasmplex.errors import LinkError
from wasmplex.plugin import Err, Grants, GuestExit

Linked = Callable[..., AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.anyio

IMPORTS = (Path(__file__).parent / "data" / "wasi-0.2-imports.wat").read_text()
RUN = "wasi:cli/run@0.2.3#run"
LOOPBACK = "127.0.0.1"


def everything(version: str) -> bytes:
    return bytes(wasmtime.wat2wasm(IMPORTS.replace("@0.2.12", f"@{version}")))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "wasmplex.guest")

    def take() -> list[str]:
        taken = [record.getMessage() for record in caplog.records if record.name == "wasmplex.guest.w"]
        caplog.clear()
        return taken

    return take


# ---------------------------------------------------------------- every function of every version


def test_the_list_of_functions_is_whole() -> None:
    shape = read(everything("0.2.12"))
    interfaces = [item.type for item in shape.imports if isinstance(item.type, InstanceType)]
    assert len(interfaces) == 28
    assert sum(len(interface.functions) for interface in interfaces) == 126


@pytest.mark.parametrize("version", ["0.2.0", "0.2.1", "0.2.3", "0.2.9", "0.2.10", "0.2.12"])
async def test_every_function_is_served_with_its_arity(linked: Linked, version: str) -> None:
    async with linked(everything(version)) as guest, guest.instance() as instance:
        assert not instance.poisoned


async def test_the_link_test_can_fail(linked: Linked) -> None:
    with pytest.raises(LinkError, match="get-stdoat"):
        async with linked(bytes(wasmtime.wat2wasm(IMPORTS.replace('"get-stdout"', '"get-stdoat"')))):
            raise AssertionError


# ---------------------------------------------------------------- a command in C that uses each package


async def test_a_command_sees_what_it_was_granted(linked: Linked, tmp_path: Path, lines: Any) -> None:
    async with linked(guests.component("command")) as guest:
        await guest.call(RUN)
        assert lines() == []
    grants = Grants(env={"NAME": "value"}, args=("env", "dirs", "stdin", "clock"), dirs={"/data": tmp_path})
    async with linked(guests.component("command"), grants) as guest:
        await guest.call(RUN)
        *got, clock = lines()
        assert got == ["NAME=value", "/data"]
        assert re.fullmatch(r"seconds=\d+ forward", clock)
    await run(linked, "args", "a", "", "é")
    assert lines() == ["a", "", "é"]


async def run(linked: Linked, *args: str, **grants: Any) -> None:
    async with linked(guests.component("command"), Grants(args=args, **grants)) as guest:
        await guest.call(RUN)


async def test_files_of_a_command(linked: Linked, tmp_path: Path, lines: Any) -> None:
    dirs = {"/data": tmp_path}
    await run(
        linked, "mkdir", "d", "write", "d/f", "hello\n", "cat", "d/f", "stat", "d/f", "ls", "d", dirs=dirs
    )
    assert lines() == ["hello", "type=6 size=6", "f"]
    await run(linked, "link", "d", "l", "cat", "l/f", "mv", "d/f", "g", "rm", "l", "ls", ".", dirs=dirs)
    got = lines()
    assert got[0] == "hello"
    assert sorted(got[1:]) == ["d", "g"]
    assert (tmp_path / "g").read_text() == "hello\n"


async def test_a_command_cannot_leave_its_directory(linked: Linked, tmp_path: Path, lines: Any) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("secret")
    (inside / "out").symlink_to("../secret")
    (inside / "abs").symlink_to(tmp_path / "secret")
    for path in ("../secret", "out", "abs", str(tmp_path / "secret"), "./../secret"):
        with pytest.raises(Err):
            await run(linked, "cat", path, dirs={"/": inside})
        assert lines() == ["error 31"], path  # not-permitted


async def test_descriptors_are_closed_when_an_instance_ends(linked: Linked, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text("x" * 100_000)

    def files() -> set[str]:
        found = {os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()}
        return {path for path in found if path.startswith(str(tmp_path))}

    grants = Grants(args=("cat", "a", "cat", "b", "ls", ".", "trap"), dirs={"/": tmp_path})
    async with linked(guests.component("command"), grants) as guest:
        assert files() == {str(tmp_path)}
        for _ in range(3):
            with pytest.raises(Exception, match="trap"):
                await guest.call(RUN)
        assert files() == {str(tmp_path)}
    assert files() == set()


async def test_no_file_operation_blocks_the_loop(linked: Linked, tmp_path: Path) -> None:
    words = "mkdir d write d/f hello cat d/f stat d/f ls d link d l mv d/f g rm l random 70000 warn x"
    async with linked(guests.component("command"), Grants(args=words.split(), dirs={"/": tmp_path})) as guest:
        with blockbuster_ctx():
            await guest.call(RUN)
    assert (tmp_path / "g").read_text() == "hello"


async def test_output_of_a_command(linked: Linked, lines: Any) -> None:
    await run(linked, "random", "16", "warn", "careful")
    hexadecimal, number, warning = lines()
    assert len(bytes.fromhex(hexadecimal)) == 16
    assert 0 <= int(number) < 2**64
    assert warning == "careful"


async def test_exit_status(linked: Linked) -> None:
    await run(linked, "args")
    with pytest.raises(Err):
        await run(linked, "fail")
    for code in (0, 1):
        with pytest.raises(GuestExit) as caught:
            await run(linked, "exit", str(code))
        assert caught.value.code == code


@pytest.mark.alone
async def test_commands_sleep_at_the_same_time(linked: Linked) -> None:
    loop = asyncio.get_running_loop()
    async with linked(guests.component("command"), Grants(args=("sleep", "100"))) as guest:
        start = loop.time()
        await guest.call(RUN)
        one = loop.time() - start
        start = loop.time()
        await asyncio.gather(*(guest.call(RUN) for _ in range(50)))
        assert loop.time() - start < max(20 * one, 2.5)
    assert one >= 0.1


# ---------------------------------------------------------------- sockets


@contextmanager
def shouting() -> Iterator[int]:
    """A server that answers in capitals, once, and closes."""
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100).upper() + b"!" * 200_000)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join()


async def test_a_command_talks_tcp_if_the_network_is_granted(linked: Linked, lines: Any) -> None:
    with shouting() as port:
        await run(linked, "tcp", str(port), "hello\n", network="allow")
    first, rest = lines()
    assert first == "HELLO"
    assert rest.startswith("!!!!")


async def test_a_command_has_no_network_by_default(linked: Linked, lines: Any) -> None:
    with pytest.raises(Err):
        await run(linked, "tcp", "1", "hello")
    assert lines() == ["error 1"]  # access-denied


async def test_a_refused_connection(linked: Linked, lines: Any) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Err):
        await run(linked, "tcp", str(port), "hello", network="allow")
    assert lines() == ["error 14"]  # connection-refused
