"""Middleware of `wasi:http` 0.3 in front of a workload, by the installed command."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import guests
import pytest
from serving import COMMAND, running, serving

_LAYER, _APP, _OLD = guests.path("layer3"), guests.path("hello3"), guests.path("lab")


def written(folder: Path, middleware: str, component: Path = _APP, **more: str) -> Path:
    config = folder / "host.toml"
    lines = [f"{key} = {value}" for key, value in more.items()]
    config.write_text(
        "\n".join(
            [
                '[http]\nlisten = "127.0.0.1:0"',
                f'[workload.shop]\ncomponent = "{component}"\nenv = {{ NAME = "app" }}',
                *lines,
                f'[workload.shop.trigger.http]\npath = "/"\nmiddleware = {middleware}\n',
            ]
        )
    )
    return config


def ask(url: str, path: str = "/") -> tuple[int, str | None, bytes]:
    """Return the status, who handed the answer on, and the body."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("via"), answer.read()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    granted = f'{{ component = "{_LAYER}", env = {{ NAME = "inner" }} }}'
    with serving(written(tmp_path_factory.mktemp("middleware"), f'["{_LAYER}", {granted}]')) as url:
        yield url


def test_each_sees_what_it_is_granted_and_nothing_of_the_workload(url: str) -> None:
    assert ask(url) == (200, "inner, nobody", b"hello, world\n")  # outermost first, so its word is last


def test_one_answers_itself(url: str) -> None:
    assert ask(url, "/private") == (401, None, b"")


def test_a_trap_of_one_fails_its_call_alone(url: str) -> None:
    assert ask(url, "/trap")[0] == 502
    assert ask(url)[0] == 200


def test_a_changed_middleware_is_noticed(tmp_path: Path) -> None:
    layer = tmp_path / "layer.wasm"
    layer.write_bytes(_LAYER.read_bytes())
    config = written(tmp_path, '[{ component = "layer.wasm", env = { NAME = "one" } }]')
    with running(config, "--watch") as host:
        assert ask(host.url)[1] == "one"
        layer.write_bytes(_APP.read_bytes())
        until = time.monotonic() + 60
        while "layer.wasm is no middleware" not in host.log():
            assert time.monotonic() < until, host.log()
            time.sleep(0.05)
        assert ask(host.url)[1] == "one"  # what was right goes on


def test_each_is_called_after_its_file(tmp_path: Path) -> None:
    for name in ("auth.wasm", "my log.wasm"):
        (tmp_path / name).write_bytes(_LAYER.read_bytes())
    config = written(tmp_path, '["auth.wasm", { component = "my log.wasm" }, "auth.wasm"]')
    checked = subprocess.run([COMMAND, "check", "--json", config], capture_output=True, check=True)
    (workload,) = json.loads(checked.stdout)["workloads"]
    assert [layer["name"] for layer in workload["middleware"]] == ["shop/auth", "shop/my-log", "shop/auth-2"]


@pytest.mark.parametrize(
    ("middleware", "said"),
    [
        ('["gone.wasm"]', ["gone.wasm", "there is no such file", "host.toml:"]),
        ('["{app}"]', ["is no middleware: it does not import wasi:http/handler@0.3", "middleware[0]"]),
        ('["{old}"]', ["does not import and does not export", "components of 0.2 cannot be chained"]),
        ('[{{ component = "{layer}", envv = {{}} }}]', ["envv", "did you mean 'env'", "middleware[0]"]),
        ("[7]", ["middleware[0] = 7 is no component"]),
        ('[" "]', ['middleware[0] = " " must not be empty']),
        ('["{app}", "{old}"]', ["hello3.wasm is no middleware", "lab.wasm is no middleware"]),
        (f"{['x.wasm'] * 33}", ["there are more than 32 components in the chain"]),
        ('"{layer}"', ["middleware = ", "must be an array"]),
    ],
)
def test_what_is_wrong_with_middleware_is_said_where_it_is(
    tmp_path: Path, middleware: str, said: list[str]
) -> None:
    config = written(tmp_path, middleware.format(app=_APP, layer=_LAYER, old=_OLD))
    assert_refused(config, said)


def test_a_workload_of_an_older_version_cannot_be_behind_middleware(tmp_path: Path) -> None:
    config = written(tmp_path, f'["{_LAYER}"]', _OLD)
    assert_refused(config, ["cannot stand in front of lab.wasm", "components of 0.2 cannot be chained"])


def test_two_routes_of_a_workload_have_the_same_middleware(tmp_path: Path) -> None:
    config = tmp_path / "host.toml"
    config.write_text(f"""
[workload.shop]
component = "{_APP}"
[[workload.shop.trigger.http]]
path = "/a"
middleware = ["{_LAYER}"]
[[workload.shop.trigger.http]]
path = "/b"
""")
    assert_refused(config, ["the tables of one workload name different middleware", "http[1].middleware"])


def assert_refused(config: Path, said: list[str]) -> None:
    checked = subprocess.run([COMMAND, "check", config], capture_output=True, text=True, check=False)
    text = " ".join((checked.stdout + checked.stderr).split())
    assert checked.returncode in (1, 2), text
    assert "Traceback" not in text
    assert not [part for part in said if part not in text], text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_bodies_and_trailers_pass_as_they_come(tmp_path: Path) -> None:
    config = written(tmp_path, f'["{_LAYER}", "{_LAYER}"]', guests.compiled("py-wasi3"))
    with serving(config) as url:
        at = urlsplit(url)
        with socket.create_connection((at.hostname or "", at.port or 0), timeout=60) as connection:
            connection.sendall(
                b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
            )
            assert received(connection, b"3\r\nabc\r\n").startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"3\r\ndef\r\n0\r\nx-sum: 6\r\n\r\n")
            assert received(connection, b"\r\n\r\n") == b"3\r\ndef\r\n0\r\nx-sum: 6\r\n\r\n"
        body = bytes(range(256)) * (1 << 14)
        connected = http.client.HTTPConnection(at.hostname or "", at.port, timeout=60)
        with contextlib.closing(connected):
            connected.request("POST", "/echo", body)
            assert connected.getresponse().read() == body


def received(connection: socket.socket, end: bytes) -> bytes:
    """Return what comes until it ends so."""
    data = b""
    while not data.endswith(end):
        part = connection.recv(1 << 16)
        assert part, data
        data += part
    return data
