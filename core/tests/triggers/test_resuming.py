"""What triggers hold open: it is opened again whatever breaks it, ever later while nothing comes of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from wasmplex.capabilities.keyvalue import CASES, StoreUnavailable
from wasmplex.errors import ConfigError, FailureError
from wasmplex.logs import get_logger
from wasmplex.plugins.triggers import TriggerBinding, TriggerSource
from wasmplex.triggers import resuming
from wasmplex.triggers.resuming import Pauses, Resumed, Words

pytestmark = pytest.mark.anyio

WORDS = Words("w", "cannot listen", "it broke", "it is back")


class Named:
    name = "w"


def test_pauses_double_up_to_a_bound_until_something_worked() -> None:
    pauses = Pauses()
    assert [pauses.next() for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    pauses.reset()
    assert pauses.next() == 0.1


class Source:
    """Something to be opened; each turn takes one error to raise, on opening or when it is used."""

    def __init__(self, *turns: tuple[Exception | None, Exception | None]) -> None:
        self.turns = list(turns)
        self.pauses: list[float] = []
        where: Any = "host.toml:3"
        source = TriggerSource(None, plugin="p")  # type: ignore[arg-type]
        binding = TriggerBinding(Named(), None, None, where, source)  # type: ignore[arg-type]
        self.resumed = Resumed(binding, CASES, self.open, self.take, WORDS, get_logger("wasmplex.test"))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Exception | None]:
        if not self.turns:
            self.resumed.stop()
            raise StoreUnavailable("the test is over")
        self.pauses.append(self.resumed.pauses._next)
        at_once, later = self.turns.pop(0)
        if at_once is not None:
            raise at_once
        yield later

    async def take(self, error: Exception | None) -> None:
        if error is None:
            self.resumed.pauses.reset()  # something has come
        else:
            raise error

    async def run(self) -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                await tasks.start(self.resumed.run)


async def test_it_is_opened_again_whatever_breaks_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resuming, "FIRST_PAUSE", 0.001)
    caplog.set_level("INFO", "wasmplex.test")
    source = Source(
        (None, StoreUnavailable("gone")),
        (ConfigError("no leader, so no stream"), None),
        (None, OSError("a driver's own")),
        (None, None),
        (None, StoreUnavailable("gone")),
    )
    await source.run()
    assert source.pauses == [0.001, 0.002, 0.004, 0.008, 0.002], "only what has come begins anew"
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "it broke" in text][:2] == [
        "w: it broke: gone", "w: it broke: no leader, so no stream",
    ]  # fmt: skip
    assert said.count("w: it is back") == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnavailable("gone"), FailureError),
        (TimeoutError(), FailureError),
        (ConfigError("never"), ConfigError),
    ],
)
async def test_what_never_was_open_is_an_error_that_says_where(
    error: Exception, expected: type[FailureError | ConfigError]
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(expected, match="host.toml:3")):
        await Source((error, None)).run()


async def test_that_it_cannot_be_opened_is_said_once_and_again_once_it_was_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resuming, "FIRST_PAUSE", 0.0)
    away, other = StoreUnavailable("away"), StoreUnavailable("refused")
    source = Source((None, away), (away, None), (away, None), (other, None), (None, away), (away, None))
    await source.run()
    said = [r.getMessage().split(": ")[-1] for r in caplog.records if "it broke" in r.getMessage()]
    assert said == ["away", "refused", "away", "the test is over"]
