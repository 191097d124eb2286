"""Instances made and ended by the worker."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import anyio
import pytest
from wasmplex.engine import Engine, Instance, Linked, ahead
from wasmplex.engine.ahead import Ahead, worth_it
from wasmplex.errors import LimitExceeded

pytestmark = pytest.mark.anyio

QUIET = """
(component
  (import "tell" (func $tell))
  (core module $m
    (import "" "tell" (func $tell))
    (memory (export "memory") 1)
    (data (i32.const 0) "\\07")
    (func (export "run") (result i32)
      (call $tell)
      (i32.load8_u (i32.const 0))
      (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))))
  (core func $lowered (canon lower (func $tell)))
  (core instance $i (instantiate $m (with "" (instance (export "tell" (func $lowered))))))
  (func (export "run") (result u32) (canon lift (core func $i "run"))))
"""
CHATTY = QUIET.replace('(func (export "run")', '(start $tell)\n    (func (export "run")', 1)


@pytest.fixture
async def linked(link_wat: Any) -> Linked:
    return await link_wat(QUIET, {"": {"tell": lambda: None}})  # type: ignore[no-any-return]


@pytest.fixture
async def maker(engine: Engine, linked: Linked, monkeypatch: pytest.MonkeyPatch) -> Ahead:
    monkeypatch.setattr(ahead, "_WORTH", 0.0)
    maker = await engine.ahead(linked)
    assert maker is not None
    return maker


async def made(maker: Ahead) -> Instance:
    coming, news = maker.begin(), anyio.Event()
    coming.when_done(partial(asyncio.get_running_loop().call_soon_threadsafe, news.set))
    with anyio.fail_after(20):
        await news.wait()
    assert coming.done()
    return coming.result()


async def test_who_calls_the_host_while_it_is_made_is_found_out(link_wat: Any) -> None:
    told = []
    linked = await link_wat(CHATTY, {"": {"tell": lambda: told.append(threading.get_ident())}})
    assert not await worth_it(linked)
    assert told == []
    (await linked.instantiate()).close()
    assert told == [threading.get_ident()]


async def test_what_is_made_at_once_is_not_worth_it(linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_WORTH", 60.0)
    assert not await worth_it(linked)
    monkeypatch.setattr(ahead, "_WORTH", 0.0)
    assert await worth_it(linked)


async def test_host_functions_run_in_the_thread_of_the_event_loop(
    engine: Engine, link_wat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_WORTH", 0.0)
    told = []
    imports = {"": {"tell": lambda: told.append(threading.get_ident())}}
    maker = await engine.ahead(await link_wat(QUIET, imports))
    assert maker is not None
    for instance in (await maker.make(), await made(maker)):
        await instance.call("run")
        instance.close()
    assert told == [threading.get_ident()] * 2


async def test_each_instance_is_as_new_however_many_there_are(maker: Ahead) -> None:
    for make in (maker.make, partial(made, maker)):
        instances = [await make() for _ in range(19)]
        for instance in instances:
            assert [await instance.call("run") for _ in range(3)] == [7, 8, 9]
            instance.close()


async def test_a_worker_that_was_closed_still_ends_instances(maker: Ahead, engine: Engine) -> None:
    instance = await made(maker)
    worker = engine.services.worker
    assert worker._executor is not None
    (thread,) = worker._executor._threads
    worker.close()
    instance.close()
    assert instance.poisoned
    assert not thread.is_alive()
    assert worker._executor is None, "it has not been started again"


async def test_one_that_cannot_be_made_says_so(engine: Engine, link_wat: Any) -> None:
    linked = await link_wat(QUIET, {"": {"tell": lambda: None}}, memory=1)
    maker = Ahead(linked, engine.services.worker)
    with pytest.raises(LimitExceeded):
        await made(maker)
    with pytest.raises(LimitExceeded):
        await maker.make()


async def test_what_never_gets_done_is_not_made_ahead(
    engine: Engine, link_wat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_WORTH", 0.0)
    monkeypatch.setattr(ahead, "_TRIAL_SECONDS", 0.1)
    endless = "(func $slow (loop $on (br $on))) (start $slow)"
    text = QUIET.replace('(func (export "run")', f'{endless} (func (export "run")', 1)
    linked = await link_wat(text, {"": {"tell": lambda: None}})
    with anyio.fail_after(20):
        assert await engine.ahead(linked) is None


async def test_what_takes_long_is_not_made_ahead(
    linked: Linked, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_WORTH", 0.0)
    monkeypatch.setattr(ahead, "_TOO_LONG", 0.0)
    assert await engine.ahead(linked) is None


async def test_without_a_thread_an_instance_is_ended_at_once(
    maker: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    instance = await maker.make()
    monkeypatch.setattr(maker._worker, "submit", no_thread)
    instance.close()
    assert instance.poisoned
