"""Standard error that is not read, or gone: the host goes on, and what is lost is counted."""

from __future__ import annotations

import io
import logging
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from wasmplex.cli.messages import Messages

Run = Callable[..., Any]

LAB = """\
[http]
listen = "127.0.0.1:{port}"
access_log = true
[workload.lab]
component = "lab.wasm"
trigger.http = {{}}
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test has closed it
            os.close(end)


def logger(messages: Messages) -> logging.Logger:
    """Return a logger that writes to messages, as the host's does."""
    found = logging.Logger("test")
    stream = io.TextIOWrapper(messages, write_through=True)  # type: ignore[type-var]
    found.addHandler(logging.StreamHandler(stream))
    return found


def read(end: int, until: bytes) -> bytes:
    found = b""
    while until not in found:
        found += os.read(end, 65536)
    return found


def test_what_is_not_read_is_kept_up_to_a_bound_and_the_rest_is_counted(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    messages = Messages(pipe[1])
    messages.never_wait()
    log = logger(messages)
    line = "x" * 999
    begun = time.monotonic()
    for number in range(3000):
        log.warning("%d %s", number, line)
    assert time.monotonic() - begun < 20, "nobody has waited for the reader"
    found = read(pipe[0], b"1000 ")
    while messages._thread is not None:
        found += os.read(pipe[0], 65536)
    log.warning("after all")
    found += read(pipe[0], b"after all\n")
    lines = [text.split() for text in found.decode().splitlines()[:-1]]
    assert {text for _, text in lines} == {line}, "whole"
    numbers = [int(number) for number, _ in lines]
    assert numbers == sorted({*numbers}), "in order"
    assert numbers[:1000] == [*range(1000)], "the first; behind them whatever there is room for meanwhile"
    assert 1000 < len(numbers) < 1300
    [record] = [r for r in caplog.records if r.name == "wasmplex.messages"]
    assert (
        record.getMessage() == f"{3000 - len(numbers)} messages were lost: standard error did not take them"
    )


@pytest.mark.parametrize("waits", [True, False])
def test_a_reader_that_has_gone_is_no_error(pipe: tuple[int, int], waits: bool) -> None:
    messages = Messages(pipe[1])
    if not waits:
        messages.never_wait()
    os.close(pipe[0])
    log = logger(messages)
    for _ in range(3):
        log.warning("nobody reads this")
    assert messages._lost == 3
    os.close(pipe[1])
    log.warning("nor this")
    assert messages._lost == 4


def test_one_that_waits_gets_everything_to_a_slow_reader(pipe: tuple[int, int]) -> None:
    """As a command's messages do that are piped into a pager."""
    messages = Messages(pipe[1])
    os.set_blocking(pipe[1], False)  # by somebody who shares it
    if (child := os.fork()) == 0:
        os.close(pipe[0])
        messages.write(b"x" * 500_000 + b"end")
        os._exit(0)
    time.sleep(0.1)
    assert len(read(pipe[0], b"end")) == 500_003
    assert os.waitpid(child, 0)[1] == 0


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("args", [[], ["--workers", "2"]], ids=["alone", "workers"])
@pytest.mark.parametrize("stderr", ["not read", "gone", "full"])
def test_a_host_drains_whatever_has_become_of_standard_error(
    home: Path, run_host: Run, args: list[str], stderr: str
) -> None:
    (home / "lab.wasm").symlink_to((home / "kv.wasm").resolve().with_name("lab.wasm"))
    port = free_port()
    (home / "host.toml").write_text(LAB.format(port=port))
    reader, writer = os.pipe()
    if stderr == "full":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    host = run_host(*args, stderr=writer)
    os.close(writer)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"{url}/hello", timeout=20).close()
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)
    if stderr == "gone":
        os.close(reader)
    path = "x" * 4000
    for _ in range(100 if stderr == "not read" else 3):  # more than a pipe takes
        try:
            urllib.request.urlopen(f"{url}/{path}", timeout=20).close()
        except urllib.error.HTTPError as error:
            error.close()
    with urllib.request.urlopen(f"{url}/big?n=300000&ms=200", timeout=20) as under_way:
        host.signal(signal.SIGTERM)
        assert len(under_way.read()) == 300_000
    assert host.process.wait(timeout=40) == 0
    if stderr != "gone":
        os.close(reader)
