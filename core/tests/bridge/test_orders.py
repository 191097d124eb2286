"""Orders of scripts: which are given to an adapter in one go."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from wasmplex.bridge.actor import Actor
from wasmplex.bridge.flows import Script
from wasmplex.bridge.protocol import EMPTY_HEAP, ORDERS_AHEAD, Event, Op


def _actor(*scripts: Script, gives_ahead: bool = True) -> tuple[Actor, list[list[int]]]:
    given: list[list[int]] = []

    def orders(those: list[int]) -> int:
        given.append(list(those))
        return those[0]

    side: Any = SimpleNamespace(
        scripts=deque(scripts), flows={}, gives_ahead=gives_ahead, orders=orders,
        pulse=SimpleNamespace(busy=lambda: None),
    )  # fmt: skip
    return Actor(side), given


def _script(*orders: int) -> Script:
    for order in orders:  # noqa: UP028  a tuple is sent nothing
        yield order


def test_orders_without_an_outcome_go_with_the_next_of_any_script() -> None:
    actor, given = _actor(_script(Op.LEAVE, EMPTY_HEAP, Op.DROP), _script(Op.JOIN, Op.COPY))
    assert actor.perform(Event.NONE, 0, 0) == Op.LEAVE
    assert given == [[Op.LEAVE, EMPTY_HEAP, Op.DROP, Op.JOIN, Op.COPY]]


def test_an_adapter_whose_memory_the_host_does_not_see_gets_one_at_a_time() -> None:
    actor, given = _actor(_script(Op.DROP, Op.COPY), gives_ahead=False)
    assert actor.perform(Event.NONE, 0, 0) == Op.DROP
    assert actor.perform(Event.OPERATION, 0, 0) == Op.COPY
    assert not given


def test_a_memory_has_grown_before_the_script_goes_on() -> None:
    actor, _ = _actor(_script(Op.GROW | 64 << 32, Op.COPY))
    assert actor.perform(Event.NONE, 0, 0) == Op.GROW | 64 << 32


def test_no_more_orders_are_given_than_there_is_room_for() -> None:
    actor, given = _actor(_script(*[Op.DROP] * 40))
    done = 0
    event = Event.NONE
    while actor.perform(event, 0, 0) is not None:
        done, event = done + len(given[-1]), Event.OPERATION
    assert done == 40
    assert max(map(len, given)) == ORDERS_AHEAD + 1
