"""Settings that are read again: not too often, and told of when they have changed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import anyio
import pytest
from wasmplex.backends import BackendPool, rereading
from wasmplex.backends.rereading import Rereading
from wasmplex.plugin import Backend, BackendProvider, OpenContext, SecretStr, Settings

pytestmark = pytest.mark.anyio


class StoreSettings(Settings):
    password: SecretStr = SecretStr("a-first-one")


class Store(Backend):
    context = OpenContext(Path())

    async def close(self) -> None:
        raise RuntimeError("a-first-one and a-second-one do not close")


class Stores(BackendProvider[StoreSettings]):
    name = "store"
    capability = "keyvalue"
    settings = StoreSettings

    async def open(self, settings: StoreSettings, context: OpenContext) -> Store:
        store = Store()
        store.context = context
        return store


async def test_files_are_not_read_more_often_than_once_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = StoreSettings(), StoreSettings(password=SecretStr("new"))
    answers: list[Settings | None] = [old, None, new, new]
    changes: list[Settings] = []
    again = Rereading(old, lambda: answers.pop(0), changes.append)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(again.now)
    assert len(answers) == 3
    monkeypatch.setattr(rereading, "_PAUSE", 0)
    assert [await again.now() for _ in range(3)] == [old, new, new]
    assert changes == [new]


async def test_what_is_read_again_is_secret_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = StoreSettings(), StoreSettings(password=SecretStr("a-second-one"))
    async with (
        BackendPool(tmp_path) as pool,
        pool.lease(Stores(), old, holder="a/b", reread=lambda: new) as store,
    ):
        assert isinstance(store, Store)
        assert await store.context.settings_now(old) == new
        logging.getLogger("wasmplex.backends").warning("a-second-one")
    assert caplog.messages == [
        "backend store of a/b: its settings have changed, and were read again",
        "***",
        "backend store failed to close: RuntimeError: *** and *** do not close",
    ]


async def test_without_a_file_settings_stay_what_they_are(tmp_path: Path) -> None:
    settings = StoreSettings()
    assert await OpenContext(tmp_path).settings_now(settings) is settings
    async with BackendPool(tmp_path) as pool, pool.lease(Stores(), settings) as store:
        assert isinstance(store, Store)
        assert await store.context.settings_now(settings) is settings


async def test_a_file_system_that_has_gone_away_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rereading, "_TIMEOUT", 0.05)
    settings, gone = StoreSettings(), threading.Event()

    def read() -> Settings:
        gone.wait(60)
        return settings

    again = Rereading(settings, read, lambda _: None)
    with anyio.fail_after(20):
        assert await again.now() is settings
    gone.set()
