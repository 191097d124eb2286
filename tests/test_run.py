"""`wasmplex run` as users type it, with its defaults: every backend, interface and trigger, real traffic."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import guests
import pytest
from serving import running, serving
from wasmplex.testing.servers import NatsServer, RedisServer

BACKENDS = ("memory", "sqlite", "redis", "nats")
LABELS = ("first", "second", "third", "fourth")
WATCHERS = {"wasi": "second", "wasmcloud": "third"}
"""The packages with a watcher, and the label whose namespace the watcher shares."""

SETTINGS = {
    "memory": 'backend = "memory"',
    "sqlite": 'backend = "sqlite", path = "kv.db"',
    "redis": 'backend = "redis", url = { env = "REDIS_URL" }',
    "nats": 'backend = "nats", url = { env = "NATS_URL" }',
}
HTTP = """
[workload.{name}]
component = "{component}"
trigger.http = {{ path = "/", host = "{name}" }}
"""
WATCH = """
[workload.{package}-{backend}]
component = "{component}"
trigger.watch = {{ label = "watched", bucket = "inbox" }}
default."{package}:keyvalue" = {{ {binding}, namespace = "{package}" }}
import.watched = {{ {binding}, namespace = "{package}" }}
"""
TOUR = """
[workload.tour]
component = "{component}"
trigger.http = {{ path = "/", host = "tour" }}
args = ["one", "two"]
env = {{ NAME = "value" }}
dirs = {{ "/data" = "data" }}
network = "allow"
allowed_hosts = ["*"]
"""


def configuration() -> str:
    """Return one host with all of it: a process takes longer to start than a workload."""
    text = '[http]\nlisten = "127.0.0.1:0"\n'
    component = guests.path("kvfour")
    for backend, binding in SETTINGS.items():
        text += HTTP.format(name=backend, component=component)
        shared = {label: f', namespace = "{package}"' for package, label in WATCHERS.items()}
        text += "".join(f"import.{one} = {{ {binding}{shared.get(one, '')} }}\n" for one in LABELS)
        text += f'default."wasi:keyvalue" = {{ {binding} }}\n'
        for package, guest in (("wasi", "kvwatch"), ("wasmcloud", "kvawatch")):
            text += WATCH.format(
                package=package, backend=backend, binding=binding, component=guests.path(guest)
            )
    text += HTTP.format(name="named", component=guests.path("kvplain"))
    buckets = ", ".join(f"{name} = {{ {binding} }}" for name, binding in SETTINGS.items())
    text += f'default."wasi:keyvalue" = {{ buckets = {{ {buckets} }} }}\n'
    text += HTTP.format(name="four", component=component)
    text += 'default."wasi:keyvalue" = { backend = "memory" }\n'
    text += "".join(
        f"import.{label} = {{ {SETTINGS[backend]} }}\n"
        for label, backend in zip(LABELS, BACKENDS, strict=True)
    )
    return text + TOUR.format(component=guests.path("tour"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "data").mkdir()
    config = folder / "host.toml"
    config.write_text(configuration())
    with (
        RedisServer("r3d1s") as redis,
        NatsServer("n4ts") as nats,
        serving(config, REDIS_URL=redis.url, NATS_URL=nats.url) as url,
    ):
        yield url.rstrip("/")


Ask = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def ask(url: str) -> Ask:
    """Return what asks a workload: ``ask("redis", "/first/orders/k")`` is the status and the line."""

    def ask(workload: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        request = Request(url + path, body, {"Host": workload})
        try:
            with urlopen(request, timeout=30) as response:
                return response.status, response.read().decode().removesuffix("\n")
        except HTTPError as error:
            with error:
                return error.code, error.read().decode().removesuffix("\n")

    return ask


# ---------------------------------------------------------------- backends


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend(ask: Ask, backend: str) -> None:
    assert ask(backend, "/first/orders/k") == (200, "none")
    assert ask(backend, "/first/orders/k?set=v") == (200, "ok")
    assert ask(backend, "/first/orders/k") == (200, "v")
    assert ask(backend, "/fourth/orders/k") == (200, "none")  # a label is a namespace
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: ask(backend, "/plain/orders/n?add=1"), range(200)))
    assert sorted(int(line) for _, line in answers) == list(range(1, 201))


def test_four_labels_of_a_workload_are_four_backends(ask: Ask) -> None:
    assert ask("four", "/all/orders/k?set=v") == (200, "ok\nok\nok\nok")
    assert ask("four", "/second/orders/k?set=of+second") == (200, "ok")
    assert ask("four", "/all/orders/k") == (200, "v\nof+second\nv\nv")
    with ThreadPoolExecutor(8) as clients:
        written = list(clients.map(lambda n: ask("four", f"/all/orders/{n}?set={n}"), range(100)))
        found = list(clients.map(lambda n: ask("four", f"/all/orders/{n}"), range(100)))
    assert written == 100 * [(200, "ok\nok\nok\nok")]
    assert found == [(200, "\n".join(4 * [str(n)])) for n in range(100)]


def test_buckets_of_one_import_are_four_backends(ask: Ask) -> None:
    for bucket in BACKENDS:
        assert ask("named", f"/{bucket}/k?set={bucket}") == (200, "ok")
    for bucket in BACKENDS:
        assert ask("named", f"/{bucket}/k") == (200, bucket)
        assert ask("named", f"/{bucket}/n?add=2") == (200, "2")
    assert ask("named", "/other/k") == (503, "no-such-store")


# ---------------------------------------------------------------- triggers, and wasmcloud:keyvalue


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("package", WATCHERS)
def test_a_watcher(ask: Ask, backend: str, package: str) -> None:
    """The component is told of what another workload writes, and notes it where that one can read it."""
    label = WATCHERS[package]
    path, noted = ("k", "v now v") if package == "wasi" else ("1", "set k v now v")
    assert ask(backend, f"/{label}/inbox/k?set=v") == (200, "ok")
    deadline = time.monotonic() + 20
    while (answer := ask(backend, f"/{label}/seen/{path}"))[1] == "none" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answer == (200, noted)


# ---------------------------------------------------------------- WASI


@pytest.fixture
def peer() -> Iterator[int]:
    """Return the port of somebody who answers what was sent, as an HTTP response, to one client."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            got = connection.recv(1000).split(b"\r\n")[0]
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(got), got)
            connection.sendall(answer if got.endswith(b"HTTP/1.1") else got)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_io(ask: Ask) -> None:
    assert ask("tour", "/io", b"a body") == (200, "ready=1 body=a body")


def test_clocks(ask: Ask) -> None:
    status, line = ask("tour", "/clocks")
    said, _, seconds = line.partition(" seconds=")
    assert (status, said) == (200, "slept")
    assert abs(int(seconds) - time.time()) < 60


def test_random(ask: Ask) -> None:
    assert ask("tour", "/random") == (200, "bytes=16 different")


def test_cli(ask: Ask) -> None:
    assert ask("tour", "/cli") == (200, "NAME=value 2")


def test_filesystem(ask: Ask) -> None:
    assert ask("tour", "/filesystem") == (200, "written")


def test_sockets(ask: Ask, peer: int) -> None:
    assert ask("tour", f"/sockets?port={peer}") == (200, "ping")


def test_outgoing_http(ask: Ask, peer: int) -> None:
    assert ask("tour", f"/http?port={peer}") == (200, "200 GET / HTTP/1.1")


# ---------------------------------------------------------------- a file that is lost


@pytest.mark.slow
def test_workers_whose_sqlite_file_is_removed(tmp_path: Path) -> None:
    """All of them refuse to write, say so once, and go on with the file that is put there."""
    config = tmp_path / "host.toml"
    config.write_text(
        '[http]\nlisten = "127.0.0.1:0"\n'
        + HTTP.format(name="shop", component=guests.path("kvfour")).replace(', host = "shop"', "")
        + "".join(f'import.{one} = {{ backend = "sqlite", path = "kv.db" }}\n' for one in LABELS)
        + 'default."wasi:keyvalue" = { backend = "sqlite", path = "kv.db" }\n'
    )
    with running(config, "--workers", "2") as host:
        url = host.url.rstrip("/")
        with urlopen(f"{url}/first/b/k?set=v", timeout=30) as response:
            assert response.status == 200
        backup = (tmp_path / "kv.db").read_bytes()
        for file in tmp_path.glob("kv.db*"):
            file.unlink()
        assert {status(f"{url}/first/b/{n}?set=v") for n in range(50)} == {503}
        assert {status(f"{url}/first/b/k") for _ in range(50)} == {503}
        deadline = time.monotonic() + 20  # the one that was asked for nothing finds out by itself
        while host.log().count("kv.db: the file is gone") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(re.findall(r"worker [12]: .*kv.db: the file is gone", host.log())) == 2
        assert not (tmp_path / "kv.db").exists()
        (tmp_path / "restored").write_bytes(backup)
        (tmp_path / "restored").rename(tmp_path / "kv.db")
        while len(re.findall(r"opened anew", host.log())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        while {status(f"{url}/first/b/{n}?set=v") for n in range(20)} != {200}:
            assert time.monotonic() < deadline, host.log()
        assert {status(f"{url}/first/b/{n}") for n in range(20)} == {200}
        log = host.log()
    assert "Traceback" not in log
    assert log.count("kv.db: the file is gone") == 2


def status(url: str) -> int:
    try:
        with urlopen(url, timeout=30) as response:
            return int(response.status)
    except HTTPError as error:
        with error:
            return error.code
