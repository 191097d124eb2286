"""The instance pool: reuse, limits, fairness, deadlines, draining."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.config.model import InstancesConfig
from wasmplex.errors import CallCancelled, DeadlineExceeded, LimitExceeded
from wasmplex.instances import AHEAD, InstancePool
from wasmplex.loans import Loan
from wasmplex.workload import calls_served

pytestmark = pytest.mark.anyio


class FakeInstance:
    workload = "w"

    def __init__(self) -> None:
        self.state: dict[object, object] = {}
        self.poisoned = False
        self.closed = 0

    async def call(self, export: str, *args: object) -> object:
        return None

    def calls_each(self, export: str) -> bool:
        return False

    def calls_made(self) -> int:
        return 0

    async def call_each(self, export: str, calls: object, results: list[object], paused: object) -> None:
        results.append(None)

    def close(self) -> None:
        self.closed += 1


class Factory:
    def __init__(self) -> None:
        self.made: list[FakeInstance] = []
        self.fail = False

    async def __call__(self) -> FakeInstance:
        await anyio.lowlevel.checkpoint()
        if self.fail:
            raise RuntimeError("no instance today")
        self.made.append(FakeInstance())
        return self.made[-1]


def pool(factory: Factory, **changes: float) -> InstancePool:
    options = {"maximum": 2, "reuse": 3, "queue": 4, "timeout": 5.0} | changes
    return InstancePool(factory, name="w", **options)  # type: ignore[arg-type]


async def test_an_instance_serves_as_many_calls_as_reuse_says() -> None:
    factory = Factory()
    p = pool(factory, reuse=3)
    for _ in range(7):
        async with p.lend():
            pass
    assert len(factory.made) == 3
    assert [i.closed for i in factory.made] == [1, 1, 0]


def test_an_instance_in_many_calls_at_once_serves_more_where_nothing_is_said() -> None:
    assert (calls_served(InstancesConfig()), calls_served(InstancesConfig(), 16)) == (100, 512)
    assert calls_served(InstancesConfig(reuse=100), 16) == 100


async def test_reuse_one_makes_a_fresh_instance_for_every_call() -> None:
    factory = Factory()
    p = pool(factory, reuse=1)
    for _ in range(4):
        async with p.lend():
            pass
    assert [i.closed for i in factory.made] == [1, 1, 1, 1]
    assert p.statistics().live == 0


async def test_a_poisoned_instance_is_dropped() -> None:
    factory = Factory()
    p = pool(factory)
    async with p.lend() as instance:
        instance.poisoned = True  # type: ignore[misc]
    assert factory.made[0].closed == 1
    assert p.statistics().live == 0


async def test_no_more_than_maximum_live_and_the_rest_wait_in_order() -> None:
    factory = Factory()
    p = pool(factory, maximum=2, queue=10, reuse=100)
    order: list[int] = []
    peak = 0

    async def caller(n: int) -> None:
        nonlocal peak
        async with p.lend():
            order.append(n)
            peak = max(peak, p.statistics().live)
            await anyio.sleep(0.002)

    async with anyio.create_task_group() as tasks:
        for n in range(9):
            tasks.start_soon(caller, n)
    assert order == list(range(9))
    assert peak == 2
    assert len(factory.made) == 2


async def test_a_full_queue_refuses_at_once() -> None:
    p = pool(Factory(), maximum=1, queue=0)
    async with p.lend():
        with pytest.raises(LimitExceeded, match=r"full: 1 instances are busy"):
            async with p.lend():
                pass
    async with p.lend():
        pass


async def test_a_limit_in_a_call_is_told_from_an_instance_that_was_not_to_be_had() -> None:
    p = pool(Factory(), maximum=1, queue=0)
    found: list[bool] = []

    def too_much() -> None:
        raise LimitExceeded("a list of a million values is passed")

    async def call() -> None:
        try:
            async with p.lend():
                await call()  # there is no other instance
                too_much()
        except LimitExceeded as raised:
            found.append(raised.called)

    await call()
    assert found == [False, True]


async def test_waiting_ends_with_the_deadline() -> None:
    p = InstancePool(anyio.sleep_forever, maximum=1, reuse=1, queue=4, timeout=0.05, name="w")  # type: ignore[arg-type]
    refused = 0

    async def call() -> None:
        nonlocal refused
        with pytest.raises(LimitExceeded, match="came free within"):
            await p.lend().__aenter__()
        refused += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)  # waits for its instance to be made
        tasks.start_soon(call)  # waits for a place
    assert refused == 2
    assert p.statistics()[:3] == (0, 0, 0)


async def test_a_call_that_outlives_its_deadline_is_cancelled() -> None:
    factory = Factory()
    p = pool(factory, timeout=0.02)
    with pytest.raises(DeadlineExceeded, match=r"after 0\.02 s"):
        async with p.lend():
            await anyio.sleep_forever()


async def test_a_call_that_is_given_up_ends_at_once_and_its_instance_comes_back() -> None:
    p = pool(Factory(), maximum=1)
    loan = p.lend()

    async def call() -> None:
        async with loan:
            loan.cancel()
            await anyio.sleep_forever()

    with pytest.raises(CallCancelled, match="given up"):
        await call()
    assert p.statistics().idle == 1


@pytest.mark.parametrize("early", [False, True])
async def test_a_wait_that_is_given_up_ends_at_once(early: bool) -> None:
    p = pool(Factory(), maximum=1)
    async with p.lend(), anyio.create_task_group() as tasks:
        loan = p.lend()
        if early:
            loan.cancel()
        else:
            tasks.start_soon(_cancel_soon, loan)
        with pytest.raises(CallCancelled):
            await loan.__aenter__()
        assert p.statistics().waiting == 0


async def _cancel_soon(loan: Loan) -> None:
    await anyio.sleep(0.01)
    loan.cancel()


async def test_a_failed_creation_frees_its_place() -> None:
    factory = Factory()
    p = pool(factory, maximum=1)
    factory.fail = True
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with p.lend():
                pass
    factory.fail = False
    async with p.lend():
        assert p.statistics().live == 1


async def test_drain_waits_for_calls_and_refuses_new_ones() -> None:
    factory = Factory()
    p = pool(factory)
    release, drained = anyio.Event(), anyio.Event()

    async def call() -> None:
        async with p.lend():
            await release.wait()

    async def drain() -> None:
        await p.drain()
        drained.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(drain)
        await anyio.wait_all_tasks_blocked()
        assert not drained.is_set()
        with pytest.raises(LimitExceeded, match="stopping"):
            async with p.lend():
                pass
        release.set()
    assert drained.is_set()
    p.close()
    assert [i.closed for i in factory.made] == [1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=40), st.integers(1, 4))
async def test_whatever_is_cancelled_nothing_is_lost(
    plan: list[tuple[int, bool, bool]], maximum: int
) -> None:
    factory = Factory()
    p = pool(factory, maximum=maximum, queue=100, reuse=2)

    async def caller(ticks: int, cancel: bool, poison: bool) -> None:
        with anyio.CancelScope() as scope:
            if cancel:
                scope.cancel()
            async with p.lend() as instance:
                for _ in range(ticks):
                    await anyio.lowlevel.checkpoint()
                instance.poisoned = poison  # type: ignore[misc]

    async with anyio.create_task_group() as tasks:
        for ticks, cancel, poison in plan:
            tasks.start_soon(caller, ticks, cancel, poison)
    s = p.statistics()
    assert s.waiting == 0
    assert s.live == s.idle <= maximum
    p.close()
    assert all(i.closed == 1 for i in factory.made)


# ---------------------------------------------------------------- instances made ahead


class FakeComing:
    def __init__(self, ahead: Ahead) -> None:
        self.ahead = ahead
        self.callback: Callable[[], object] = lambda: None
        self.ready = False

    def done(self) -> bool:
        return self.ready

    def when_done(self, callback: Callable[[], object]) -> None:
        self.callback = callback

    def finish(self) -> None:
        self.ready = True
        self.callback()

    def result(self) -> FakeInstance:
        if self.ahead.fail:
            raise RuntimeError("no instance today")
        self.ahead.made.append(FakeInstance())
        return self.ahead.made[-1]


class Ahead:
    """Begins to make instances, and finishes when it is told to, or at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.fail = False
        self.begun: list[FakeComing] = []
        self.made: list[FakeInstance] = []

    def __call__(self) -> FakeComing:
        self.begun.append(FakeComing(self))
        self.begun[-1].ready = self.at_once
        return self.begun[-1]


def stocked(factory: Factory, ahead: Ahead, maximum: int = 8, queue: int = 4) -> InstancePool:
    return InstancePool(factory, maximum=maximum, reuse=1, queue=queue, timeout=5.0, name="w", begin=ahead)


async def test_calls_made_in_one_loan_count_as_many_as_they_were() -> None:
    factory = Factory()
    p = pool(factory, reuse=5)
    for left, count in ((5, 3), (2, 2), (5, 1)):
        loan = p.lend()
        async with loan:
            assert loan.calls_left == left
            loan.note_calls(count)
    assert p.statistics().created == 2


async def call(p: InstancePool) -> FakeInstance:
    async with p.lend() as instance:
        assert isinstance(instance, FakeInstance)
        return instance


async def test_fresh_instances_are_made_ahead_of_the_calls_that_need_them() -> None:
    factory, ahead = Factory(), Ahead(at_once=True)
    p = stocked(factory, ahead)
    served = [await call(p) for _ in range(6)]
    assert len(factory.made) == 0
    assert served == ahead.made
    assert [instance.closed for instance in served] == [1] * 6
    assert len(ahead.begun) == 6 + AHEAD
    p.close()
    await p.settle()
    assert [instance.closed for instance in ahead.made] == [1] * (6 + AHEAD)
    assert p.statistics()[:3] == (0, 0, 0)


async def test_a_call_alone_does_not_wait_for_what_is_made_ahead() -> None:
    factory, ahead = Factory(), Ahead()
    p = stocked(factory, ahead)
    for _ in range(3):
        await call(p)
    assert (len(factory.made), len(ahead.begun), len(ahead.made)) == (3, AHEAD, 0)


async def test_what_is_made_ahead_counts_as_live() -> None:
    factory, ahead = Factory(), Ahead()
    p = stocked(factory, ahead, maximum=2)
    async with p.lend():
        assert p.statistics().live == 2
        assert len(ahead.begun) == 1


async def test_one_call_makes_its_instance_and_the_others_take_what_comes() -> None:
    go_on, served = anyio.Event(), list[FakeInstance]()

    class Slow(Factory):
        async def __call__(self) -> FakeInstance:
            await go_on.wait()
            return await super().__call__()

    factory, ahead = Slow(), Ahead()
    p = stocked(factory, ahead, queue=0)

    async def caller() -> None:
        served.append(await call(p))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(caller)
        await anyio.wait_all_tasks_blocked()
        assert p.statistics().waiting == 3
        ahead.begun[0].finish()
        await anyio.wait_all_tasks_blocked()
        assert served == ahead.made
        assert p.statistics().waiting == 2
        go_on.set()
    assert (len(factory.made), len(ahead.made), p.statistics().waiting) == (3, 1, 0)


async def test_failing_to_make_one_ahead_harms_no_call() -> None:
    factory, ahead = Factory(), Ahead(at_once=True)
    ahead.fail = True
    p = stocked(factory, ahead)
    for _ in range(6):
        await call(p)
    assert (len(factory.made), len(ahead.made)) == (6, 0)
    p.close()
    with anyio.fail_after(5):
        await p.settle()
    assert p.statistics().live == 0


async def test_who_waits_while_all_that_is_made_fails_is_served_in_the_end() -> None:
    factory, ahead = Factory(), Ahead()
    p = stocked(factory, ahead, maximum=2)
    async with anyio.create_task_group() as tasks, p.lend():
        tasks.start_soon(call, p)
        await anyio.wait_all_tasks_blocked()
        assert p.statistics().waiting == 1
        ahead.fail = True
        ahead.begun[0].finish()
        await anyio.wait_all_tasks_blocked()
        assert p.statistics().waiting == 0
    assert len(factory.made) == 2


async def test_closing_ends_what_is_still_being_made_ahead() -> None:
    factory, ahead = Factory(), Ahead()
    p = stocked(factory, ahead)
    await call(p)
    p.close()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(p.settle)
        await anyio.sleep(0.005)
        assert p.statistics().live == AHEAD
        for coming in ahead.begun:
            coming.finish()
    assert p.statistics().live == 0
    assert [instance.closed for instance in ahead.made] == [1] * AHEAD


async def test_an_instance_that_cannot_be_closed_gives_its_place_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stuck(FakeInstance):
        def close(self) -> None:
            raise OSError("no")

    class Stubborn(Factory):
        async def __call__(self) -> FakeInstance:
            return Stuck()

    p = pool(Stubborn(), maximum=1, reuse=1, queue=1)
    for _ in range(3):
        async with p.lend():
            pass
    with anyio.fail_after(5):
        await p.drain()
    assert p.statistics().live == 0
    assert caplog.text.count("could not be closed") == 3


async def test_a_call_whose_end_cannot_be_reported_gives_its_instance_back() -> None:
    factory = Factory()
    p = pool(factory, maximum=1)
    p.on_error = lambda error: 1 / 0  # type: ignore[assignment]
    for _ in range(2):
        with pytest.raises(KeyError):
            async with p.lend():
                raise KeyError
    with anyio.fail_after(5):
        await p.drain()


class Never:
    """An instance that is being made ahead for ever."""

    def done(self) -> bool:
        return False

    def when_done(self, callback: Callable[[], object]) -> None:
        pass

    def result(self) -> FakeInstance:
        raise AssertionError


async def test_no_more_wait_than_may_while_an_instance_is_being_made() -> None:
    made = anyio.Event()

    async def create() -> FakeInstance:
        await made.wait()
        return FakeInstance()

    p = InstancePool(create, maximum=10, reuse=1, queue=2, timeout=60.0, name="w", begin=Never)
    refused = 0

    async def take() -> None:
        nonlocal refused
        try:
            await p.take()
        except LimitExceeded:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        assert p.statistics().waiting <= 2 + 10
        assert refused == 40 - 1 - p.statistics().waiting
        tasks.cancel_scope.cancel()


async def test_what_cannot_be_made_ahead_takes_no_place() -> None:
    def begin() -> Never:
        raise RuntimeError("can't start new thread")

    p = InstancePool(Factory(), maximum=2, reuse=1, queue=2, timeout=5.0, name="w", begin=begin)
    for _ in range(3):
        async with p.lend():
            assert p.statistics().live == 1
    assert p.statistics().live == 0
