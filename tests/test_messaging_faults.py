"""A durable queue group of two host processes, which are killed, as the server is: no message is lost.

``make faults`` runs the long version, with the figures on its output.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from messaging_hosts import hosts, publish, seen, until
from redis import Redis
from wasmplex.testing.servers import NatsServer, RedisServer

pytestmark = pytest.mark.timeout(1500)

FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
MESSAGES, KILLS, RESTARTS = (100_000, 5, 2) if FULL else (600, 1, 1)


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        NatsServer("n4ts") as server,
        RedisServer() as counts,
        Redis.from_url(counts.url) as redis,
        hosts(tmp_path, 2, NATS_URL=server.url, REDIS_URL=counts.url) as (first, second),
    ):

        def handled() -> int:
            return int(redis.dbsize())

        publisher = threading.Thread(target=anyio.run, args=(publish, server, MESSAGES))
        begun = time.monotonic()
        publisher.start()
        faults: list[Callable[[], object]] = [*KILLS * [second.again], *RESTARTS * [server.restart]]
        random.shuffle(faults)
        for number, fault in enumerate(faults, 1):
            part = MESSAGES * number // (len(faults) + 2)
            until(lambda part=part: handled() >= part, 900)  # type: ignore[misc]
            fault()
        publisher.join()
        until(lambda: handled() == MESSAGES, 600)
        took = time.monotonic() - begun
        time.sleep(4)  # what is delivered again would be by now
        assert [first.stop(), second.stop()] == [0, 0], first.log() + second.log()
        found = anyio.run(seen, counts)
    assert set(found) == {f"m{number}" for number in range(MESSAGES)}
    again = sum(count - 1 for count in found.values())
    with capsys.disabled():
        print(f"\n  {MESSAGES} messages in {took:.0f} s, {second.starts - 1} kills: {again} handled again")
    held = 256 * len(faults)  # what one crash holds, which is more than a part of the short version
    assert again < max(MESSAGES * 0.05, held)
