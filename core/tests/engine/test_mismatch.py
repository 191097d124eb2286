"""Values that do not fit: an error that says where, and never more than that."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmplex.engine import ValueMismatch
from wasmplex.errors import Trap
from wasmplex.values import Err, Ok, Variant
from wasmplex.wit.types import (
    Case,
    Enum,
    Field,
    Flags,
    ListType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

from .test_round_trip import Echo, call, linked
from .wittypes import types, values

U8, U32, F32, STRING, CHAR = (Primitive(name) for name in ("u8", "u32", "f32", "string", "char"))
POINT = Record((Field("x", U32), Field("name", STRING)))
SHAPE = VariantType((Case("none"), Case("dot", POINT), Case("named", STRING)))
DEEP = ResultType(ListType(Record((Field("items", ListType(SHAPE)),))), Enum(("red", "green")))


class Liar(list):  # type: ignore[type-arg]
    """Claims to be shorter than it is."""

    def __len__(self) -> int:
        return 1


class Raiser:
    def __index__(self) -> int:
        raise RuntimeError("no")

    __float__ = __index__


CASES: list[tuple[ValueType, Any, str]] = [
    (U8, 256, "x: 256 is out of range for u8"),
    (U8, -1, "x: -1 is out of range"),
    (U8, "1", "x: "),
    (U8, 1.0, "x: "),
    (U8, None, "x: "),
    (U8, Raiser(), "x: "),
    (F32, 1e39, "x: 1e+39 is out of range for f32"),
    (F32, "1", "x: "),
    (STRING, "a\ud800", "x: character 1 is the surrogate U+D800"),
    (STRING, b"bytes", "x: "),
    (STRING, 5, "x: "),
    (CHAR, "ab", "x: "),
    (CHAR, "", "x: "),
    (CHAR, "\udfff", "x: character 0 is the surrogate"),
    (CHAR, b"a", "x: "),
    (Primitive("bool"), "yes", "x: "),
    (ListType(U8), "text", "x: "),
    (ListType(U8), [1, 256], "x"),
    (ListType(U8), 5, "x: "),
    (ListType(U32), [1, -1], "x[1]: -1 is out of range"),
    (ListType(U32), {1: 2}, "x: "),
    (ListType(F32), [0.5, -1e300], "x[1]: -1e+300 is out of range for f32"),
    (ListType(STRING), "text", "x: "),
    (ListType(STRING), ["a", "\udc00"], "x[1]: character 0"),
    (ListType(STRING), (c for c in "ab"), "x: "),
    (Enum(("red", "green")), "gren", "did you mean 'green'"),
    (Enum(("red", "green")), 0, "x: "),
    (Flags(("a", "b")), {"a", "c"}, "x: "),
    (Flags(("a", "b")), "ab", "x: "),
    (Option(U32), "1", "x: "),
    (Option(Option(U32)), 1, "Some(...)"),
    (TupleType((U32, STRING)), (1,), "x: a tuple of 2"),
    (TupleType((U32, STRING)), "ab", "x: "),
    (TupleType((U32, STRING)), (1, 2), "x[1]: "),
    (POINT, {"x": 1}, "x: field 'name' is missing"),
    (POINT, {"x": 1, "name": 2}, "x.name: "),
    (POINT, [("x", 1)], "x: "),
    (SHAPE, Variant("dash"), "x: "),
    (SHAPE, Variant("none", 1), "x.none: "),
    (SHAPE, Variant("dot"), "x.dot: "),
    (SHAPE, Variant("dot", {"x": -1, "name": ""}), "x.dot.x: -1 is out of range"),
    (SHAPE, "no", "x: "),
    (SHAPE, ("dot",), "x: "),
    (
        DEEP,
        Ok([{"items": []}, {"items": [Variant("none"), Variant("named", 5)]}]),
        "x.ok[1].items[1].named: ",
    ),
    (DEEP, Err("blue"), "x.err: "),
    (DEEP, [], "x: "),
]


@pytest.mark.parametrize(("type", "value", "says"), CASES)
def test_argument_that_does_not_fit(type: ValueType, value: Any, says: str) -> None:
    async def run() -> None:
        instance = await (await linked(type, lambda x: x, whole=True)).instantiate()
        with pytest.raises(ValueMismatch) as caught:
            await instance.call("echo", value)
        assert says in str(caught.value)
        assert caught.value.function == "echo"
        assert isinstance(caught.value, TypeError)
        assert not instance.poisoned
        instance.close()

    asyncio.run(run())


def test_result_that_does_not_fit_says_where() -> None:
    good = Ok([{"items": [Variant("none")]}])
    for bad, path in (
        ([{"items": [Variant("none"), Variant("named", 1)]}], "result.ok[0].items[1].named"),
        ([{"item": []}], "result.ok[0]"),
        (Err("blue"), "result.err"),
        (None, "result.ok"),
    ):
        for suspend in (False, True):
            asyncio.run(_bad_result(good, bad, path, suspend))


async def _bad_result(good: Any, bad: Any, path: str, suspend: bool) -> None:
    async def later(x: Any) -> Any:
        await asyncio.sleep(0)
        return now(x)

    def now(x: Any) -> Any:
        if isinstance(bad, Err):
            raise bad
        return bad

    instance = await (await linked(DEEP, later if suspend else now, whole=True)).instantiate()
    with pytest.raises(Trap) as caught:
        await instance.call("echo", good)
    mismatch = caught.value.__cause__
    assert isinstance(mismatch, ValueMismatch)
    assert (mismatch.path, mismatch.function) == (path, "t:t/t#echo")
    assert path in str(caught.value)
    assert instance.poisoned
    instance.close()


def test_list_that_lies_about_its_length_is_read_as_it_is() -> None:
    async def run() -> None:
        echo = Echo(ListType(STRING))
        instance = await (await linked(ListType(STRING), echo.answer, whole=True)).instantiate()
        assert await instance.call("echo", Liar(["a", "b", "c"])) == ["a", "b", "c"]
        instance.close()

    asyncio.run(run())


def test_not_a_number_and_infinity_fit() -> None:
    async def run() -> None:
        instance = await (await linked(ListType(F32), lambda x: x, whole=True)).instantiate()
        back = await instance.call("echo", [math.inf, -math.inf, math.nan])
        assert back[:2] == [math.inf, -math.inf]
        assert math.isnan(back[2])
        instance.close()

    asyncio.run(run())


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), types(6), types(6), st.booleans())
def test_value_of_another_type_never_ends_the_process(
    data: st.DataObject, type: ValueType, other: ValueType, as_result: bool
) -> None:
    """A value of one type where another is wanted is refused, or is one of that type as well."""
    wrong, right = data.draw(values(other)), data.draw(values(type))

    async def run() -> None:
        echo = (lambda x: wrong) if as_result else Echo(type).answer
        instance = await (await linked(type, echo, whole=True)).instantiate()
        try:
            await call(instance, right if as_result else wrong)
        except (ValueMismatch, Trap) as error:
            refused = error.__cause__ if as_result else error
            assert isinstance(refused, ValueMismatch)
            assert instance.poisoned == as_result
        finally:
            instance.close()

    asyncio.run(run())
