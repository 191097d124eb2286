"""Orders of scripts: which are given to an adapter in one go, and what comes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from wasmplex.bridge.actor import ALONE, Actor
from wasmplex.bridge.flows import Script
from wasmplex.bridge.protocol import EMPTY_HEAP, ORDERS_MOST, Event, Op

Put = Callable[[int], None]
Putting = Callable[[Put], Script]
"""A script, given what puts orders that have no outcome."""


class Machine:
    """Follows the orders of an actor: the outcome of each is its operand."""

    def __init__(self, *plans: tuple[object, Putting], orders_most: int = ORDERS_MOST) -> None:
        self.lists: list[list[int]] = []
        self.side: Any = SimpleNamespace(
            scripts=deque(), flows={}, orders_most=orders_most, operands_next=0, orders=[], operands=[],
            list_orders=self.keep, outcomes=self.outcomes, scheduler=SimpleNamespace(busy=lambda: None),
        )  # fmt: skip
        self.side.scripts.extend((touches, script(self.put)) for touches, script in plans)
        self.actor = _Yielding(self.side)

    def put(self, order: int) -> None:
        self.side.orders.append(order)
        self.side.operands.append(0)

    def keep(self, orders: list[int], operands: list[int]) -> int:
        self.lists.append([*orders])
        return Op.LISTED

    def outcomes(self, count: int) -> list[tuple[int, int]]:
        assert count == len(self.lists[-1])
        return [(order >> 32, 0) for order in self.lists[-1]]

    def run(self) -> list[list[int]]:
        event, a, given = Event.NONE, 0, []
        while True:
            order = self.actor.follow(event, a, 0)
            given.append(self.lists[-1] if order == Op.LISTED else [order])
            if given[-1][-1] == Op.YIELD:
                return given
            event, a = Event.OPERATION, given[-1][-1] >> 32


class _Yielding(Actor):
    def rest(self, event: int) -> int:
        return Op.YIELD


def _script(*orders: int) -> Putting:
    """Return a script that gives some orders, of which `Op.COPY` and such have an outcome."""

    def script(put: Put) -> Script:
        for order in orders:
            if order & 0x7F in (Op.DROP, Op.JOIN, Op.LEAVE) or order == EMPTY_HEAP:
                put(order)
            else:
                outcome = yield order
                assert outcome[0] in (0, order >> 32)

    return script


def _copying(number: int, came: list[int]) -> Putting:
    def script(put: Put) -> Script:
        put(Op.LEAVE | number << 32)
        a, _ = yield Op.COPY | number << 32
        b, _ = yield Op.ONE | (number + 1) << 32
        came.extend((a, b))

    return script


def test_scripts_go_side_by_side_each_up_to_its_next_outcome() -> None:
    came: list[list[int]] = [[], [], []]
    machine = Machine(*((n, _copying(10 * n, came[n])) for n in range(3)))
    given = machine.run()
    assert [len(orders) for orders in given] == [6, 3, 1]
    assert came == [[0, 1], [10, 11], [20, 21]]


def test_scripts_that_touch_the_same_go_one_after_the_other() -> None:
    came: list[int] = []
    one = object()
    given = Machine((one, _copying(1, came)), (one, _copying(2, came))).run()
    assert came == [1, 2, 2, 3]
    assert [len(orders) for orders in given] == [2, 1, 2, 1, 1]


def test_a_script_that_is_alone_waits_for_the_others_and_they_for_it() -> None:
    came: list[int] = []
    Machine((0, _copying(1, came)), (ALONE, _copying(2, came)), (1, _copying(3, came))).run()
    assert came == [1, 2, 2, 3, 3, 4]


def test_a_task_yields_with_the_last_order_of_its_only_script() -> None:
    """Else what follows would not be done, and others would not get their outcomes."""
    copy, yielding = Op.COPY | 1 << 32, Op.COPY_OR_YIELD | 1 << 32
    assert Machine((0, _script(yielding))).run()[0] == [yielding]
    assert Machine((0, _script(yielding)), (1, _script(Op.JOIN))).run()[0] == [copy, Op.JOIN]
    assert Machine((0, _script(yielding)), (1, _script(Op.ONE))).run()[0] == [copy, Op.ONE]


def test_what_has_no_outcome_goes_with_what_is_done_next() -> None:
    given = Machine((0, _script(Op.LEAVE, EMPTY_HEAP, Op.DROP)), (0, _script(Op.JOIN))).run()
    assert given == [[Op.LEAVE, EMPTY_HEAP, Op.DROP, Op.JOIN, Op.YIELD]]


def test_an_adapter_whose_memory_the_host_does_not_see_gets_one_at_a_time() -> None:
    machine = Machine((0, _script(Op.DROP, Op.COPY)), (1, _script(Op.JOIN)), orders_most=1)
    assert machine.run() == [[Op.DROP], [Op.COPY], [Op.JOIN], [Op.YIELD]]
    assert not machine.lists


def test_a_memory_has_grown_before_the_script_goes_on() -> None:
    grow = Op.GROW | 64 << 32
    assert Machine((0, _script(grow, Op.COPY))).run()[0] == [grow]


def test_no_more_orders_are_given_than_there_is_room_for() -> None:
    came: list[int] = []
    plans = [(n, _script(*[Op.DROP] * 40, Op.COPY, Op.DROP)) for n in range(50)]
    given = Machine(*plans, *((50 + n, _copying(n, came)) for n in range(3))).run()
    assert sum(map(len, given)) == 50 * 42 + 3 * 3 + 1
    assert max(map(len, given)) == ORDERS_MOST
    assert came == [0, 1, 1, 2, 2, 3]


def test_a_task_yields_for_a_copy_only_where_nothing_else_is_to_be_done() -> None:
    writing = Op.WRITE_ALL | 4 << 32
    alone = Machine((object(), _script(Op.LEAVE, writing)))
    assert alone.run()[0] == [Op.LEAVE, writing]
    for other in (_script(Op.LEAVE, Op.DROP), _script(Op.COPY_OR_YIELD)):
        both = Machine((object(), _script(writing)), (object(), other)).run()
        assert both[0][0] & 0x7F == Op.COPY
        assert {Op.COPY_OR_YIELD, Op.WRITE_ALL}.isdisjoint(order & 0x7F for order in both[0])
