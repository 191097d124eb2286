"""What is seen of compiling where there is no terminal."""

from __future__ import annotations

import asyncio

import pytest
from wasmplex.cli import progress

pytestmark = pytest.mark.anyio


async def test_what_takes_long_is_said_again_with_how_long_it_has_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_LONG", 0.0)
    monkeypatch.setattr(progress, "_AGAIN", 0.001)
    caplog.set_level("INFO", "wasmplex.host")
    with progress.compiling(1, bar=False) as tell:
        tell("hello", "compiling 7.0 MiB")
        while len(caplog.messages) < 3:  # noqa: ASYNC110  nobody is told of it
            await asyncio.sleep(0.001)
    said = len(caplog.messages)
    await asyncio.sleep(0.005)
    assert caplog.messages[0] == "workload hello: compiling 7.0 MiB"
    assert caplog.messages[1] == "workload hello: compiling 7.0 MiB, for 0 s so far"
    assert len(caplog.messages) == said
