"""Messages in `wasmplex run` as users type it: an HTTP guest publishes, handlers of both versions consume."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import guests
import pytest
from serving import Running, running
from wasmplex.testing.servers import NatsServer

HOST = """
[http]
listen = "127.0.0.1:0"

[admin]
listen = "127.0.0.1:0"

[workload.shop]
component = "{old}"
trigger.http = {{ path = "/" }}
default."wasi:keyvalue" = {{ backend = "memory", namespace = "seen" }}
import.orders = {{ {broker}{namespace} }}
import.audit = {{ {broker} }}
trigger.messaging = {{ through = "orders", subjects = ["orders.shop.>"] }}

[workload.store]
component = "{new}"
default."wasmcloud:keyvalue" = {{ backend = "memory", namespace = "seen" }}
import.audit = {{ {broker} }}
[[workload.store.trigger.messaging]]
{table}
subjects = ["orders.store.*"]
backoff = "50ms"
max_deliver = 3
"""
NATS = 'backend = "nats", url = { env = "NATS_URL" }'
BROKERS = {
    "memory": ('backend = "memory"', ', namespace = "orders"', 'backend = "memory"\nnamespace = "orders"'),
    "nats": (NATS, "", NATS.replace(", ", "\n")),
    "jetstream": (NATS, "", NATS.replace(", ", "\n") + "\ndurable = true"),
}


def configuration(broker: str) -> str:
    """Return a host with both versions of the handler."""
    binding, namespace, table = BROKERS[broker]
    return HOST.format(
        old=guests.path("handler-old"),
        new=guests.path("handler"),
        broker=binding,
        namespace=namespace,
        table=table,
    )


@pytest.fixture(params=BROKERS, scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = tmp_path_factory.mktemp("host") / "host.toml"
    config.write_text(configuration(request.param))
    with NatsServer("n4ts") as nats, running(config, NATS_URL=nats.url) as host:
        assert host.url
        yield host


def ask(host: Running, path: str) -> str:
    with urlopen(host.url.rstrip("/") + path, timeout=30) as response:
        return str(response.read().decode().removesuffix("\n"))


def until(expected: str, asked: Callable[[], str]) -> None:
    deadline = time.monotonic() + 20
    while (found := asked()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found == expected


@pytest.mark.parametrize("subject", ["orders.shop.new", "orders.store.new"])
def test_a_handler_consumes_what_an_http_guest_publishes(host: Running, subject: str) -> None:
    body = subject.replace(".", "-")
    assert ask(host, f"/publish/{subject}/{body}?n=50") == "ok"
    for number in range(50):
        until("1", lambda number=number: ask(host, f"/seen/{body}{number}"))  # type: ignore[misc]


@pytest.mark.parametrize("subject", ["orders.shop.ask", "orders.store.ask"])
def test_a_request_is_answered_through_another_label(host: Running, subject: str) -> None:
    assert ask(host, f"/request/{subject}/hello") == "hello"


def test_a_message_that_is_not_handled_is_delivered_again(host: Running) -> None:
    assert ask(host, "/publish/orders.store.new/retry-this") == "ok"
    until("3", lambda: ask(host, "/seen/retry-this"))
    assert ask(host, "/publish/orders.store.new/reject-this") == "ok"
    until("1", lambda: ask(host, "/seen/reject-this"))
    said = r"to orders\.store\.new is (?:given up|a dead letter in \S+) after (\d) deliver(?:y|ies) \((\S+)\)"
    # A rejected message may be given up before the last try of the other has been told.
    expected = str([("1", "rejected"), ("3", "max-deliver")])
    until(expected, lambda: str(sorted(re.findall(said, host.log()))))
    tries = re.findall(r" request=([0-9a-f]{16}) workload=store: .* delivery \d of a message", host.log())
    assert len(set(tries)) == 2, "each delivery has an id"
    (metrics,) = re.findall(r"metrics: (\S+)", host.log())
    with urlopen(f"{metrics}/metrics", timeout=30) as response:
        figures = response.read().decode()
    assert 'wasmplex_requests_total{status="retry",trigger="messaging",workload="store"} 2.0' in figures


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/publish/orders..new/x", "subject-invalid"),
        ("/publish/orders.*/x", "subject-invalid"),
        ("/publish/$JS.API.INFO/x", "access-denied"),
        ("/request/nobody.listens/x", "broker-unavailable"),
    ],
)
def test_what_is_refused(host: Running, path: str, said: str) -> None:
    assert ask(host, path).startswith(f"{said}: ")


@pytest.mark.parametrize("broker", BROKERS)
def test_draining_handles_what_was_published(tmp_path: Path, broker: str) -> None:
    config = tmp_path / "host.toml"
    config.write_text(configuration(broker))
    with NatsServer("n4ts") as nats, running(config, NATS_URL=nats.url) as host:
        assert ask(host, "/publish/orders.store.new/work1-?n=60") == "ok"
        host.process.terminate()
        assert host.process.wait(40) == 0
        said = r"orders\.store\.\*: (\d+) handled, 0 retried, 0 dead letters, 0 lost"
        handled = re.search(said, host.log())
        assert handled is not None, host.log()
        if broker == "jetstream":  # what is left stays with the server
            assert int(handled[1]) <= 60
        else:
            assert int(handled[1]) == 60
