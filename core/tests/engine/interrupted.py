"""Interrupts guests again and again by a signal whose handler raises; run by `test_signals`.

Prints how many calls were ended by the exception. The process must survive every one.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import warnings
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmtime import wat2wasm

CALLS = 150


class Interrupt(BaseException):
    """What the handler raises."""


def interrupt(number: int, frame: object) -> None:
    raise Interrupt


async def nothing() -> None:
    pass


async def suspend() -> None:
    await asyncio.sleep(0)


NOOPS: dict[str, Any] = {"sync": lambda: None, "async": nothing, "suspended": suspend}


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine without an event loop, which would have handlers of its own."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value


def interrupted_calls(linked: Any) -> int:
    count = 0
    for _ in range(CALLS):
        instance = finish(linked.instantiate())
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.003))
            finish(instance.call("run-noop", 2**31))
        except Interrupt:
            count += 1
        if not instance.poisoned:  # interrupted before the guest was entered
            assert finish(instance.call("run-add", 0)) == 0
        instance.close()
    return count


def main(kind: str) -> None:
    wasm = bytes(wat2wasm((Path(__file__).parent / "guests" / "kv.wat").read_text()))
    engine = Engine(EngineSettings(use_cache=False))
    compiled = asyncio.run(engine.compile(wasm, read(wasm)))
    store = {
        "noop": NOOPS[kind],
        "add": max,
        "strlen": len,
        "open": str,
        "[method]bucket.get": max,
        "[method]bucket.set": lambda bucket, key, value: None,
    }
    # The interrupt may come between the making of a coroutine and its first step.
    warnings.filterwarnings("ignore", "coroutine 'Instance.call' was never awaited", RuntimeWarning)
    signal.signal(signal.SIGALRM, interrupt)
    print(interrupted_calls(engine.link(compiled, {"test:kv/store": store}, "w")))
    engine.close()


main(sys.argv[1])
