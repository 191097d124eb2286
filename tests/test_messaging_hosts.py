"""Hosts that share the messages, or the times, of a server: frozen, reloaded, killed, in several workers."""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import guests
import nats
import pytest
from messaging_hosts import Host, hosts, publish, seen, started, until
from redis import Redis
from wasmplex.testing.servers import NatsServer, RedisServer

FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
PATIENCE = 240.0 if FULL else 90.0
"""Seconds until what a test waits for."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if FULL else 300)]
"""Ten reloads of two workers start 22 processes: 40 seconds, and eight times that on a busy machine."""
RELOADS, FLOOD = (10, 60.0) if FULL else (1, 1.5)


@pytest.fixture
def broker() -> Iterator[NatsServer]:
    with NatsServer(sync=None) as server:
        yield server


@pytest.fixture
def counts() -> Iterator[RedisServer]:
    with RedisServer(settings={"appendfsync": "no"}) as server:
        yield server


@contextmanager
def handled(server: RedisServer) -> Iterator[Callable[[], int]]:
    """Say how many messages have been handled."""
    with Redis.from_url(server.url) as redis:
        yield lambda: int(redis.dbsize())


def warnings(host: Host) -> list[str]:
    """Return what the log says of messages that went wrong; that the machine is slow is no matter."""
    wrong = r"^.*(?:WARNING|ERROR).*(?:outcome|lost|broke|failed|given up).*$"
    return re.findall(wrong, host.log(), re.MULTILINE)


def test_an_outcome_that_comes_after_its_deadline_harms_nobody(
    tmp_path: Path, broker: NatsServer, counts: RedisServer
) -> None:
    """The broker delivers what a frozen host handles to another; both say that they are done."""
    with (
        Redis.from_url(counts.url) as redis,
        hosts(tmp_path, 1, ack_wait="1s", NATS_URL=broker.url, REDIS_URL=counts.url) as (frozen,),
    ):
        redis.client_pause(60_000, all=False)  # the handler waits for its first write
        anyio.run(publish, broker, 1)
        until(lambda: any("b" in one["flags"] for one in redis.client_list()), PATIENCE)
        frozen.process.send_signal(signal.SIGSTOP)
        redis.client_unpause()
        other = Host(tmp_path, 1, NATS_URL=broker.url, REDIS_URL=counts.url)
        try:
            until(lambda: "m0" in anyio.run(seen, counts), PATIENCE)
            frozen.process.send_signal(signal.SIGCONT)
            until(lambda: anyio.run(seen, counts)["m0"] > 1, PATIENCE)
            assert [frozen.stop(), other.stop()] == [0, 0]
        finally:
            other.process.kill()
            other.process.wait()
        ends = [
            re.findall(r"(\d+) handled, (\d+) retried, .* 0 lost", host.log()) for host in (frozen, other)
        ]
        assert sum(int(handled) for ((handled, _),) in ends) == anyio.run(seen, counts)["m0"]
        assert [retried for ((_, retried),) in ends] == ["0", "0"]
        assert anyio.run(left, broker) == 0
        assert warnings(frozen) == warnings(other) == []


async def left(server: NatsServer) -> int:
    """Return how many messages the stream of the hosts has that have no outcome."""
    client = await nats.connect(server.url)
    try:
        return (await client.jetstream().stream_info("wasmplex-store")).state.messages
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("options", "durable"),
    [((), False), (("--watch",), True), *([(("--workers", "2"), True)] if FULL else [])],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else f"durable={value}",
)
def test_reloads_under_load_lose_nothing(
    tmp_path: Path, broker: NatsServer, counts: RedisServer, durable: bool, options: tuple[str, ...]
) -> None:
    enough, sent = threading.Event(), list[int]()
    with (
        handled(counts) as done,
        hosts(
            tmp_path, 1, *options, durable=durable, ack_wait="60s", NATS_URL=broker.url, REDIS_URL=counts.url
        ) as (host,),
    ):
        publisher = threading.Thread(target=lambda: sent.append(anyio.run(pour, broker, enough)))
        publisher.start()
        try:
            for number in range(1, RELOADS + 1):
                before = done()
                until(lambda before=before: done() > before + 20, PATIENCE)  # type: ignore[misc]
                reload(host, tmp_path / "host.toml", by_file="--watch" in options)
                until(lambda number=number: host.log().count("reloaded: ") == number, PATIENCE)  # type: ignore[misc]
        finally:
            enough.set()
            publisher.join()
        until(lambda: done() == sent[0], PATIENCE)
        assert host.stop() == 0, host.log()
        assert anyio.run(seen, counts) == {f"m{number}": 1 for number in range(sent[0])}
        shares = [int(share) for share in re.findall(r"(\d+) handled, 0 retried", host.log())]
        assert sum(shares) == sent[0]
        if "--workers" in options:  # more than if one worker at a time had had all
            assert sum(share > 0 for share in shares) > RELOADS + 1
        assert warnings(host) == []


async def pour(server: NatsServer, enough: threading.Event) -> int:
    """Publish some hundreds of messages a second, and return how many they were."""
    sent = 0
    async with await nats.connect(server.url) as client:
        while not enough.is_set():
            for number in range(sent, sent + 5):
                await client.publish("orders.new", b"m%d" % number)
            sent += 5
            await client.flush()
            await anyio.sleep(0.01)
    return sent


def reload(host: Host, config: Path, *, by_file: bool) -> None:
    """Have a host read its configuration again, which has changed."""
    config.write_text(config.read_text() + "\n# changed\n")
    if not by_file:
        host.process.send_signal(signal.SIGHUP)


@pytest.mark.parametrize("durable", [True, False] if FULL else [True], ids="durable={}".format)
def test_a_publisher_that_is_much_faster_fills_no_memory(
    tmp_path: Path,
    broker: NatsServer,
    counts: RedisServer,
    durable: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the host has not the time for stays with the server; nothing is dropped."""
    with (
        handled(counts) as done,
        hosts(tmp_path, 1, durable=durable, NATS_URL=broker.url, REDIS_URL=counts.url) as (host,),
    ):
        anyio.run(flood, broker, 0.5)
        until(lambda: done() > 50, PATIENCE)
        before = resident(host)
        sent = anyio.run(flood, broker, FLOOD)
        grown, behind = resident(host) - before, done()
        with capsys.disabled():
            print(f"\n  {sent} messages sent, {behind} handled; {grown / 2**20:.1f} MiB more in memory")
        assert behind < (sent / 5 if FULL else sent)
        assert grown < 16 * 2**20
        if durable:
            waiting = anyio.run(left, broker)
            assert waiting + done() >= sent
        assert warnings(host) == []
        host.kill()


async def flood(server: NatsServer, seconds: float) -> int:
    """Publish messages that take a few milliseconds each, as fast as the server takes them."""
    sent, until = 0, anyio.current_time() + seconds
    async with await nats.connect(server.url) as client:
        while anyio.current_time() < until:
            for number in range(sent, sent + 100):
                await client.publish("orders.new", b"work3-%d" % number)
            sent += 100
            await client.flush()
            await anyio.sleep(0.02)
    return sent


def resident(host: Host) -> int:
    """Return the bytes that a host has in memory."""
    pages = Path(f"/proc/{host.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


# ---------------------------------------------------------------- at times

CRON = """
[workload.report]
component = "{command}"
[[workload.report.trigger.cron]]
schedule = "* * * * * *"
backend = "nats"
url = {{ env = "NATS_URL" }}
"""


def test_one_of_two_hosts_does_each_run_also_when_the_other_is_killed(
    tmp_path: Path, broker: NatsServer
) -> None:
    (tmp_path / "host.toml").write_text(CRON.format(command=guests.path("command")))
    with started(tmp_path, 2, NATS_URL=broker.url) as two:
        until(lambda: sum(len(runs(host)) for host in two) >= 3, PATIENCE)
        last = max(two, key=lambda host: runs(host)[-1:])
        (other,) = (host for host in two if host is not last)
        last.kill()
        seen = runs(last)
        until(lambda: runs(other)[-1:] > seen[-1:] and len(runs(other)) >= 2, PATIENCE)
        assert other.stop() == 0
        assert not {*seen} & {*runs(other)}


def runs(host: Host) -> list[str]:
    """Return the times whose runs have ended in a host."""
    return re.findall(r"the run of (\S+) took", host.log())
