"""Which handles an adapter exchanges by itself, and in which case of a variant."""

from __future__ import annotations

import pytest
from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.kinds import Function, KindTable
from wasmplex.bridge.places import exchanged_call, exchanged_export
from wasmplex.bridge.wat import Scope
from wasmplex.wit.types import (
    Borrow,
    FuncType,
    ListType,
    Option,
    Own,
    Param,
    Primitive,
    Resource,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
)

R = Resource(1, "r")
U8, STRING = Primitive("u8"), Primitive("string")


def made(*params: ValueType, result: ValueType | None = None) -> tuple[Function, KindTable, Builtins]:
    type_ = FuncType(tuple(Param(f"p{n}", param) for n, param in enumerate(params)), result)
    function = Function(0, "o", "f", type_)
    kinds, scope = KindTable.of([function]), Scope("t")
    scope.resources = {resource.id: f"$r{n}" for n, resource in enumerate(kinds.resources)}
    return function, kinds, Builtins.of(kinds, scope)


@pytest.mark.parametrize(
    ("param", "taken"),
    [
        (Own(R), 1), (TupleType((Own(R), U8, Own(R))), 2), (Option(Own(R)), 1), (U8, 0), (StreamType(U8), 0),
        (Borrow(R), 0),  # of a resource that the adapter defines: what it gets is the representation
        (ListType(Own(R)), None), (ListType(Own(R), 3), 3), (ListType(Own(R), 100), None),
        (Option(ListType(Own(R))), None),
    ],
)  # fmt: skip
def test_handles_are_taken_where_each_has_a_place(param: ValueType, taken: int | None) -> None:
    code = exchanged_call(*made(STRING, param)).taking
    assert taken is None if code is None else code.count("$take0") == taken


@pytest.mark.parametrize(
    ("result", "given"), [(Own(R), 1), (ResultType(TupleType((Own(R), StreamType(U8))), U8), 2),
                          (ListType(StreamType(U8)), None)]
)  # fmt: skip
def test_handles_are_given_where_each_has_a_place(result: ValueType, given: int | None) -> None:
    code = exchanged_call(*made(result=result)).giving
    assert given is None if code is None else code.count("(call $b") == given


def test_what_is_in_one_case_is_exchanged_in_that_case() -> None:
    code = exchanged_call(*made(result=ResultType(Own(R), U8))).giving
    assert code is not None
    assert code.startswith("(if (i32.eq (i32.load8_u offset=0 ")
    assert code.count("(i32.const 0)) (then") == 1
    assert "(i32.const 1)) (then" not in code


@pytest.mark.parametrize(
    ("param", "early"),
    [(Own(R), True), (U8, True), (STRING, False), (StreamType(U8), False), (Borrow(R), False)],
)  # fmt: skip
def test_arguments_are_written_early_that_lie_nowhere_in_particular(param: ValueType, early: bool) -> None:
    assert (exchanged_export(*made(param), in_memory=(False, False)).giving is not None) is early
