"""A server that refuses is a line of the log of `wasmplex run`; a password in a file is read again."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guests
import pytest
from serving import Running, running
from wasmplex.testing.servers import NatsServer, RedisServer

OLD, NEW = "old-Passw0rd/x", "new-Passw0rd/y"
REFUSED = "the server refuses the credentials"


def settings(server: Any) -> str:
    if isinstance(server, RedisServer):
        return f'backend = "redis"\nurl = "redis://{server.address}"\n'
    return f'backend = "nats"\nurl = "nats://{server.address}"\nuser = "wasmplex"\n'


def configured(folder: Path, server: Any) -> Path:
    (folder / "password").write_text(f"{OLD}\n")
    path = folder / "host.toml"
    path.write_text(
        f'[log]\nformat = "json"\n[http]\nlisten = "127.0.0.1:0"\n[workload.shop]\ntrigger.http = {{}}\n'
        f'component = "{guests.path("kvhttp")}"\n[workload.shop.import.cache]\nbackend = "memory"\n'
        f'[workload.shop.import.store]\n{settings(server)}password = {{ file = "password" }}\n'
    )
    return path


def status(host: Running) -> int:
    try:
        with urllib.request.urlopen(f"{host.url}/key?n=5", timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rotate(server: Any, password: str) -> None:
    """Have the server take another password, and end the connections that were made with the old one."""
    if isinstance(server, RedisServer):
        server.ask("CONFIG", "SET", "requirepass", password)
        server.password = password
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    else:
        server.password = password
        server.restart()


def of_backend(log: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in log.splitlines()]
    return [record for record in records if record["logger"] == "wasmplex.backends"]


@pytest.mark.parametrize("kind", [RedisServer, NatsServer])
def test_a_password_that_is_not_right_any_more(kind: Callable[[str], Any], tmp_path: Path) -> None:
    with kind(OLD) as server, running(configured(tmp_path, server)) as host:
        assert status(host) == 200
        rotate(server, NEW)
        until(lambda: status(host) != 200 and REFUSED in host.log())
        for _ in range(60):
            assert status(host) == 502
        until(lambda: " more like it " in host.log())
        said = of_backend(host.log())
        refusals = [record for record in said if REFUSED in record["message"]]
        [found] = refusals
        assert found["message"].startswith(f"backend {found['backend']} of shop/store: get: ")
        assert (found["workload"], found["label"], found["level"]) == ("shop", "store", "WARNING")

        (tmp_path / "password").write_text(f"{NEW}\n")
        until(lambda: status(host) == 200)
        messages = [record["message"] for record in of_backend(host.log())]
        assert len([text for text in messages if "settings have changed" in text]) == 1
        assert len(messages) < 20, messages
        for secret in (OLD, NEW, "Passw0rd"):
            assert secret not in host.log()


def test_a_password_that_is_in_its_file_before_the_server_takes_it(tmp_path: Path) -> None:
    """Then no request fails: who is refused reads it again, and tries again."""
    with RedisServer(OLD) as server, running(configured(tmp_path, server)) as host:
        assert status(host) == 200
        (tmp_path / "password").write_text(NEW)
        rotate(server, NEW)
        assert {status(host) for _ in range(20)} == {200}
        assert [record["message"].partition(": ")[2] for record in of_backend(host.log())] == [
            "its settings have changed, and were read again"
        ]


def test_a_right_that_a_user_lacks(tmp_path: Path) -> None:
    with RedisServer(OLD) as server, running(configured(tmp_path, server)) as host:
        assert status(host) == 200
        server.ask("ACL", "SETUSER", "default", "-get")
        assert [status(host) for _ in range(20)] == [502] * 20
        until(lambda: " more like it " in host.log())
        server.ask("ACL", "SETUSER", "default", "+get")
        assert status(host) == 200
        first, *more = [record["message"] for record in of_backend(host.log())]
        assert "NOPERM" in first
        assert all(" more like it " in text for text in more)
