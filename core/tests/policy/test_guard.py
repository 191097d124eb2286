"""What stands between guests and a backend of any capability."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import anyio
import pytest
from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.logs import Remembered
from wasmplex.plugins.circuit import Circuit
from wasmplex.policy import Guard, operation, stream

pytestmark = pytest.mark.anyio


class CountError(CapabilityError):
    pass


class Late(CountError):
    case, summary = "late", "too late"


class Gone(CountError):
    case, summary, unavailable = "gone", "gone", True


class Denied(CountError):
    case, summary = "denied", "denied"


class Other(CountError):
    case, summary = "other", "failed"


class Configured(Denied):
    configured = True


class Full(CountError):
    case, summary = "full", "full"


CASES = ErrorCases("counting", CountError, Late, Gone, Full, Denied, Other)


class Told(Exception):
    def __init__(self, name: str, error: CountError) -> None:
        super().__init__(f"{name}: {error.case}: {error}")


class Numbers:
    """Counts up to three, waiting `pause` seconds before each number, and then raises `fault`."""

    def __init__(self, guard: Guard, pause: float = 0.0, fault: Exception | None = None) -> None:
        self.guard, self.pause, self.fault = guard, pause, fault
        self.closed = 0

    @operation("first", "numbers", returns=int)
    async def first(self) -> int:
        return await anext(self._count())

    @operation("piece", "numbers", transfer=True)
    async def piece(self) -> int:
        return await anext(self._count())

    @stream("count", "numbers")
    def count(self) -> AsyncIterator[int]:
        return self._count()

    async def _count(self) -> AsyncIterator[int]:
        try:
            for number in range(3):
                await anyio.sleep(self.pause)
                yield number
            if self.fault is not None:
                raise self.fault
        finally:
            self.closed += 1


def guard(**options: object) -> Guard:
    return Guard(CASES, Told, **{"timeout": 5.0, **options})  # type: ignore[arg-type]


async def test_a_stream_may_take_longer_than_its_deadline_as_long_as_it_goes_on() -> None:
    numbers = Numbers(guard(timeout=1), pause=0.4)
    assert [number async for number in numbers.count()] == [0, 1, 2]
    assert numbers.closed == 1


async def test_a_stream_that_does_not_go_on_is_ended() -> None:
    numbers = Numbers(guard(idle=0.02), pause=5)
    with pytest.raises(Told, match="count: late: no answer before the deadline"):
        await anext(numbers.count())
    assert numbers.closed == 1


async def test_a_piece_of_a_transfer_has_the_deadline_of_a_stream() -> None:
    numbers = Numbers(guard(timeout=5.0, idle=0.02), pause=0.1)
    assert await numbers.first() == 0
    with pytest.raises(Told, match="piece: late"):
        await numbers.piece()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Gone("by now"), "gone: by now"),
        (ConnectionResetError(104, "x ('10.0.0.7', 1)"), f"gone: {os.strerror(104)}"),
        (OSError(113, "Connect call failed ('10.0.0.7', 1)"), f"gone: {os.strerror(113)}"),
        (PermissionError(13, "no"), "denied: no"),
        (OSError(28, "full"), "full: full"),
    ],
    ids=["typed", "connection", "asyncio's own", "permission", "disk"],
)
async def test_what_breaks_a_stream_is_told_in_the_dialect(fault: Exception, text: str) -> None:
    pieces = Numbers(guard(), fault=fault).count()
    assert [await anext(pieces) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Told, match=f"count: {text}"):
        await anext(pieces)


async def test_a_stream_that_nobody_reads_to_its_end_is_closed() -> None:
    numbers = Numbers(guard())
    stream = numbers.count()
    assert await anext(stream) == 0
    await stream.aclose()
    assert numbers.closed == 1


async def test_an_interface_that_is_not_granted() -> None:
    numbers = Numbers(guard(granted=frozenset({"others"})))
    with pytest.raises(Told, match="first: denied: the configuration does not grant numbers"):
        await numbers.first()
    with pytest.raises(Told, match="count: denied"):
        await anext(numbers.count())
    assert numbers.closed == 0


async def test_a_server_that_is_gone_is_suspected_once_and_then_spared() -> None:
    circuit = Circuit()
    numbers = Numbers(guard(circuit=circuit), fault=Gone())
    with pytest.raises(Told):
        _ = [number async for number in numbers.count()]
    with anyio.fail_after(1):
        await circuit.woken()
    assert circuit.is_suspected
    circuit.open()
    with pytest.raises(Told, match="gone: the backend is known to be down"):
        await numbers.first()


def caused(error: CountError, cause: str) -> CountError:
    error.__cause__ = RuntimeError(cause)
    return error


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Denied("no"), "count: no"),
        (caused(Denied("no"), "WRONGPASS\n bad"), "count: no (WRONGPASS bad)"),
        (caused(Full(), "x" * 1000), f"count: full ({'x' * 300})"),
        (caused(Other(), "corrupt"), "count: failed (corrupt)"),
        (Late(), "count: too late"),
        (PermissionError(13, "Permission denied"), "count: Permission denied"),
        (OSError(28, "No space left"), "count: No space left"),
        (Configured(), None),
        (Full("a value is over the limit"), None),
        (Other("this feature is not there"), None),
        (caused(Gone(), "connection lost"), None),
    ],
)
async def test_what_a_server_did_not_do_is_told_to_the_host(fault: Exception, told: str | None) -> None:
    circuit = Circuit()
    with pytest.raises(Told):
        _ = [number async for number in Numbers(guard(circuit=circuit), fault=fault).count()]
    assert circuit.news() == ([(told, None)] if told else [])
    assert circuit.is_suspected == isinstance(fault, Gone)
    if circuit.is_suspected:
        assert circuit.why == "count: gone (connection lost)"


@pytest.mark.parametrize("fault", [Denied("no"), Gone()])
async def test_the_host_is_told_which_request_met_it(fault: Exception) -> None:
    circuit, whose = Circuit(), ("4f", "", "shop.example", "shop")
    with Remembered(whose), pytest.raises(Told):
        _ = [number async for number in Numbers(guard(circuit=circuit), fault=fault).count()]
    assert (circuit.whose, circuit.news()) in [(whose, []), (None, [("count: no", whose)])]


async def test_what_is_not_granted_is_not_told_to_the_host() -> None:
    circuit = Circuit()
    with pytest.raises(Told):
        await Numbers(guard(circuit=circuit, granted=frozenset())).first()
    assert circuit.news() == []
