"""Files, sockets and commands of WASI 0.3, by the installed command; `test_http3.py` has HTTP."""

from __future__ import annotations

import subprocess
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guests
import pytest
from serving import COMMAND, Running, running
from test_http3 import request

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]  # the first run compiles the guest, then the component


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def host(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = tmp_path_factory.mktemp("wasi3") / "host.toml"
    component = guests.compiled("py-wasi3")
    config.write_text(f"""
[http]
listen = "127.0.0.1:0"
[workload.lab]
component = "{component}"
dirs = {{ "/data" = "{folder}" }}
network = "allow"
limits = {{ descriptors = 16 }}
trigger.http = {{ path = "/" }}
[workload.shut]
component = "{component}"
trigger.http = {{ host = "shut.example" }}
""")
    with running(config) as host:
        assert host.url
        yield host


def said(host: Running, path: str) -> Any:
    status, body = request(host, path)
    assert status == 200
    return literal_eval(body.decode())


def test_files(host: Running, folder: Path) -> None:
    assert said(host, "/files") == [
        "ok", "ok",  # written, and appended, by streams
        (b"world!", "ok"), 12, "DescriptorType_RegularFile", True,
        "ErrorCode_NotPermitted", "ErrorCode_NoEntry",  # the way out, and what is not there
        (b"", "ErrorCode_BadDescriptor"),  # a directory has no contents: the future says so
        [("a", "DescriptorType_RegularFile"), ("d", "DescriptorType_Directory")], "ok",
    ]  # fmt: skip
    assert (folder / "a").read_bytes() == b"hello world!"


def test_a_listing_that_nobody_reads_on_lets_go_of_the_directory(host: Running, folder: Path) -> None:
    for number in range(2000):
        (folder / f"f{number}").touch()
    for _ in range(20):  # more than limits.descriptors would allow
        assert request(host, "/listing") == (200, b"True ok")


def test_sockets(host: Running) -> None:
    assert said(host, "/sockets") == [
        ((b"ping", "ok"), "ok"),
        ("ok", "ErrorCode_InvalidState", (b"pong", "ok"), "ErrorCode_InvalidState"),  # each stream once
        b"datagram",
        ["(127, 0, 0, 1)"],
    ]


def test_streams_that_the_guest_has_dropped_hold_nothing(host: Running) -> None:
    for _ in range(20):  # more than limits.descriptors would allow
        assert request(host, "/dropped") == (200, b"dropped")


def test_how_a_stream_has_ended_that_the_guest_has_dropped(host: Running) -> None:
    assert request(host, "/ended") == (200, b"ok")  # ts sockets-tcp-receive


def test_sockets_are_denied_unless_granted(host: Running) -> None:
    answer = request(host, "/denied", name="shut.example")
    assert answer == (200, b"ErrorCode_AccessDenied ErrorCode_AccessDenied")


# ---------------------------------------------------------------- commands


def invoked(folder: Path, what: str, *args: str) -> tuple[int, str]:
    config = folder / "command.toml"
    config.write_text(f"""
[workload.c]
component = "{guests.compiled("py-wasi3")}"
args = ["{what}", "x"]
env = {{ A = "b" }}
""")
    command = [str(COMMAND), "invoke", *args, str(config), "c", "run"]
    done = subprocess.run(command, input="typed", capture_output=True, text=True, timeout=100, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout if args else done.stderr


def test_a_command_has_arguments_environment_and_standard_streams(tmp_path: Path) -> None:
    code, said = invoked(tmp_path, "hello")
    assert (code, "['hello', 'x'] [('A', 'b')] b'' ok" in said) == (0, True)


def test_a_command_that_returns_before_its_output_is_written(tmp_path: Path) -> None:
    code, said = invoked(tmp_path, "late")
    assert (code, "written late" in said) == (0, True)


def test_a_command_may_be_given_the_standard_streams(tmp_path: Path) -> None:
    assert invoked(tmp_path, "hello", "--stdio") == (0, "['hello', 'x'] [('A', 'b')] b'typed' ok\n")


def test_concurrency_is_refused_where_there_is_none(tmp_path: Path) -> None:
    config = tmp_path / "host.toml"
    config.write_text(
        f'[workload.c]\ncomponent = "{guests.path("hello")}"\ninstances = {{ concurrency = 4 }}\n'
    )
    done = subprocess.run([COMMAND, "check", config], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "an instance of this component can be in one call only" in done.stderr


def test_the_exit_code_of_a_command_is_passed_on(tmp_path: Path) -> None:
    assert invoked(tmp_path, "leave")[0] == 7
    assert invoked(tmp_path, "fail")[0] == 1
