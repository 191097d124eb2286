"""Arguments are weighed before wasmtime makes values of them, and nothing else of a guest changes."""

from __future__ import annotations

import asyncio
import resource
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.bridge import guarded, in_place, locate, weighing
from wasmplex.bridge.layout import cases, fields
from wasmplex.component import read
from wasmplex.component.shape import InstanceType
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble
from wasmplex.errors import LimitExceeded, Trap
from wasmplex.values import Ok, Some
from wasmplex.wit.types import (
    FuncType,
    FutureType,
    ListType,
    Option,
    Primitive,
    Record,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
    VariantType,
)

from .lowered import HEAP, TOP, Lowered, guest
from .test_inplace import function
from .test_lowered import EXAMPLES, MADE, PHASES, U8S, Host, Made
from .witvalues import types, values

pytestmark = pytest.mark.anyio

STRING, U64 = Primitive("string"), Primitive("u64")


@asynccontextmanager
async def running(wasm: bytes, imports: Mapping[str, Mapping[str, Callable[..., Any]]]) -> AsyncIterator[Any]:
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(wasm, read(wasm))
        instance = await engine.link(compiled, imports, "test").instantiate()
        yield instance
        instance.close()


@asynccontextmanager
async def calling(functions: dict[str, FuncType], serve: Callable[..., Any]) -> AsyncIterator[Lowered]:
    wasm = guarded(guest(functions), ["in"], assemble)
    async with running(wasm, {"in": dict.fromkeys(functions, serve)}) as instance:
        yield Lowered(instance, functions)


@pytest.mark.parametrize("how", ["answer", "later"])
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(MADE)
async def test_any_function(how: str, made: Made) -> None:
    host, all_ = Host(), {f"f{number}": type_ for number, (type_, _) in enumerate(made)}
    async with calling(all_, getattr(host, how)) as guest_:
        for number, (type_, calls) in enumerate(made):
            host.fallible = isinstance(type_.result, ResultType)
            for args, result in calls:
                host.result = result
                assert await guest_.call(f"f{number}", *args) == result, type_
                assert host.given.pop() == tuple(args), type_


# ---------------------------------------------------------------- what things weigh


def each(type_: ValueType) -> int:
    """What a value weighs that is an element, without what it points at."""
    if (parts := fields(type_)) is not None:
        return 1 + sum(map(each, parts))
    if (payloads := cases(type_)) is not None:
        return 1 + max((each(part) for part in payloads if part is not None), default=0)
    return 1 if isinstance(type_, Primitive) and type_ != STRING else 4


def weight(type_: ValueType, value: Any) -> int:
    """What the data that a value points at weigh."""
    if type_ == STRING:
        return len(value.encode()) >> 5
    if isinstance(type_, ListType) and type_.length is None:
        inner = 0 if isinstance(value, bytes) else sum(weight(type_.element, item) for item in value)
        return len(value) * each(type_.element) + inner
    if isinstance(type_, Record):
        return sum(weight(field.type, value[field.name]) for field in type_.fields)
    if (parts := fields(type_)) is not None:
        return sum(weight(part, item) for part, item in zip(parts, value, strict=True))
    if isinstance(type_, Option):
        return (
            0 if value is None else weight(type_.element, value.value if isinstance(value, Some) else value)
        )
    if isinstance(type_, ResultType):
        side = type_.ok if isinstance(value, Ok) else type_.err
        return 0 if side is None else weight(side, value.value)
    if isinstance(type_, VariantType):
        part = next(case.type for case in type_.cases if case.name == value.tag)
        return 0 if part is None else weight(part, value.value)
    return 0


PAIR = TupleType((STRING, U64))


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (STRING, "a" * 31, 0),
        (STRING, "a" * 32, 1),
        (STRING, "\u20ac" * 21, 1),
        (STRING, "\u20ac" * 22, 2),
        (U8S, bytes(5), 5),
        (ListType(STRING), ["", "a" * 31, "a" * 32], 3 * 4 + 1),
        (ListType(PAIR), [("a" * 64, 1)] * 2, 2 * (1 + 4 + 1) + 2 * 2),
        (Option(ListType(Option(STRING))), [None, "a" * 95], 2 * (1 + 4) + 2),
        (TupleType((PAIR,) * 6), (("a" * 33, 0),) * 6, 6),
    ],
)
async def test_what_things_weigh(type_: ValueType, value: Any, expected: int) -> None:
    assert weight(type_, value) == expected
    await weighs(function(type_), [value], expected)


async def weighs(type_: FuncType, args: list[Any], total: int) -> None:
    """Check that arguments are taken if so much is allowed, and refused if it is one less."""
    host, most = Host(), weighing.MOST
    try:
        weighing.MOST = total  # type: ignore[misc]
        async with calling({"f": type_}, host.answer) as guest_:
            await guest_.call("f", *args)
        weighing.MOST = total - 1  # type: ignore[misc]
        async with calling({"f": type_}, host.answer) as guest_:
            if total:
                with pytest.raises(LimitExceeded):
                    await guest_.call("f", *args)
    finally:
        weighing.MOST = most  # type: ignore[misc]
    assert host.given == [tuple(args)]


@st.composite
def weighed(draw: st.DrawFn) -> tuple[FuncType, list[Any]]:
    params = draw(st.lists(types(6), min_size=1, max_size=5))
    return function(*params), [draw(values(param)) for param in params]


@settings(max_examples=4 * EXAMPLES, deadline=None, phases=PHASES)
@given(weighed())
async def test_what_is_too_much_by_one_is_refused(made: tuple[FuncType, list[Any]]) -> None:
    type_, args = made
    total = sum(weight(param.type, value) for param, value in zip(type_.params, args, strict=True))
    await weighs(type_, args, total)


# ---------------------------------------------------------------- guests that do as they like


ALIASED = ListType(TupleType((STRING, ListType(STRING))))


@pytest.mark.parametrize(
    ("type_", "size"),
    [
        (STRING, 9 << 20),
        (U8S, 1 << 20),
        (ListType(U64), 1 << 20),
        (ListType(STRING), 1 << 18),
        (ALIASED, 1 << 15),
        (Option(U8S), 1 << 20),
        (ListType(U64), 0xFFFF_FFFF),
        (STRING, 0xFFFF_FFFF),
    ],
)
async def test_too_much_is_refused_before_it_costs_memory(type_: ValueType, size: int) -> None:
    host = Host()
    pair = struct.pack("<II", HEAP, 1 << 16)
    async with calling({"f": function(type_)}, host.answer) as guest_:
        await guest_.instance.call("poke", HEAP, pair * 1000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        slots = [
            struct.pack("<I", slot) for slot in (*([1] if isinstance(type_, Option) else []), HEAP, size)
        ]
        with pytest.raises(LimitExceeded, match="too many values") as caught:
            await guest_.raw("f", slots)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10
    assert "in several calls" in str(caught.value)
    assert host.given == []


async def test_a_product_too_large_for_32_bits_is_too_much() -> None:
    """So many values that their number begins anew: 1 + 128 * 128 in each of 2^18."""
    wide = ListType(TupleType((TupleType((Primitive("u8"),) * 127),) * 128))
    host = Host()
    async with calling({"f": function(wide)}, host.answer) as guest_:
        with pytest.raises(LimitExceeded, match="too many values"):
            await guest_.raw("f", [struct.pack("<I", HEAP), struct.pack("<I", 1 << 18)])
    assert host.given == []


@settings(max_examples=2 * EXAMPLES, deadline=None, phases=PHASES)
@given(st.lists(types(6), min_size=1, max_size=4), st.integers(0, 1 << 30).map(Random))
async def test_wild_pointers_are_traps_of_the_guest(params: list[ValueType], wild: Random) -> None:
    host, odd = Host(), [0, 1, 7, HEAP, TOP - 4, TOP, 1 << 31, 0xFFFF_FFFF]
    async with calling({"f": function(*params, U8S)}, host.answer) as guest_:
        await guest_.instance.call(
            "poke", HEAP, b"".join(wild.choice(odd).to_bytes(4, "little") for _ in range(500))
        )
        for _ in range(10):
            try:
                await guest_.raw("f", [wild.choice(odd).to_bytes(8, "little")[:8] for _ in range(17)])
            except (Trap, LimitExceeded) as error:
                assert "host function" not in str(error)  # noqa: PT017
                return


async def test_a_guest_is_interrupted_while_it_is_weighed() -> None:
    """A list of lists that are all the same takes long to weigh; others have their turns."""
    host, count = Host(), 60_000
    async with calling({"f": function(ListType(ListType(Primitive("bool"))))}, host.answer) as guest_:
        await guest_.instance.call("poke", HEAP, struct.pack("<II", HEAP, 0) * count)
        turns, task = (
            0,
            asyncio.ensure_future(guest_.raw("f", [struct.pack("<I", HEAP), struct.pack("<I", count)])),
        )
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        await task
    assert turns > 0
    assert len(host.given[0][0]) == count


# ---------------------------------------------------------------- text in other encodings


ENCODED = """(component
  (import "in" (instance $in (export "f" (func (param "s" (list string))))))
  (core module $Libc (memory (export "memory") 200))
  (core instance $libc (instantiate $Libc))
  (alias export $in "f" (func $f))
  (core func $f (canon lower (func $f) (memory (core memory $libc "memory")) string-encoding={encoding}))
  (core module $Main (import "h" "f" (func $f (param i32 i32)))
    (import "h" "memory" (memory 1))
    (func (export "run") (param i32)
      (i32.store (i32.const 12) (local.get 0))
      (i32.store (i32.const 8) (i32.const 16))
      (call $f (i32.const 8) (i32.const 1))))
  (core instance $main (instantiate $Main (with "h"
    (instance (export "f" (func $f)) (export "memory" (memory $libc "memory"))))))
  (func (export "run") (param "n" u32) (canon lift (core func $main "run"))))"""
UTF16_TAG = 1 << 31


@pytest.mark.parametrize(
    ("encoding", "tag", "unit"),
    [("utf8", 0, 1), ("utf16", 0, 2), ("latin1+utf16", 0, 1), ("latin1+utf16", UTF16_TAG, 2)],
)
async def test_text_weighs_its_bytes_in_the_encoding_of_the_guest(encoding: str, tag: int, unit: int) -> None:
    sizes: list[int] = []
    wasm = guarded(assemble(ENCODED.format(encoding=encoding)), ["in"], assemble)
    most = ((weighing.MOST - 4) * 32 + 31) // unit
    async with running(wasm, {"in": {"f": lambda texts: sizes.append(len(texts[0]))}}) as instance:
        for length in (0, 1, most):
            await instance.call("run", length | tag)
        with pytest.raises(LimitExceeded, match="too many values"):
            await instance.call("run", most + 1 | tag)
    assert sizes == [0, 1, most]


# ---------------------------------------------------------------- which functions


def shape_of(wasm: bytes) -> Any:
    return [(item.name, repr(item.type)) for item in read(wasm).imports]


def test_nothing_changes_where_nothing_is_weighed() -> None:
    wasm = guest({"f": function(U64, Option(U64), result=ListType(STRING))})
    assert guarded(wasm, ["in"], assemble) is wasm
    wasm = guest({"f": function(STRING)})
    assert guarded(wasm, ["other"], assemble) is wasm
    assert guarded(wasm, ["in"], assemble, [("in", "f")]) is wasm
    assert guarded(b"\0asm", ["in"], assemble) == b"\0asm"


def test_what_flows_in_streams_and_futures_is_not_among_the_arguments() -> None:
    """As in a component of componentize-qjs, within which response.new of wasi:http 0.3 is lowered."""
    future, stream = FutureType(ResultType(Option(STRING), STRING)), StreamType(STRING)
    assert not weighing.weighed(function(future, Option(stream)))
    weighing.weighing_module(
        [(function(Option(stream), STRING, future, TupleType((stream, STRING))), "utf8")]
    )


def test_imports_stay_as_they_are() -> None:
    wasm = guest({"f": function(STRING), "g": function(ALIASED, result=U8S)})
    assert shape_of(guarded(wasm, ["in"], assemble)) == shape_of(wasm)


async def test_bytes_in_place_are_not_weighed_and_what_is_beside_them_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weighing, "MOST", 1000)
    host, functions = Host(), {"f": function(STRING, U8S)}
    placed = in_place(guest(functions), ["in"], assemble)
    assert placed is not None
    wasm = guarded(placed.wasm, ["in"], assemble, [("in", "f")])
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(wasm, placed.shape)
        imports = placed.imports({"in": {"f": host.answer}})
        instance = await engine.link(compiled, imports, "test", locate=locate).instantiate()
        await instance.call("poke", HEAP, b"a" * 100_000)
        guest_ = Lowered(instance, functions)
        words = [struct.pack("<I", word) for word in (HEAP, 3, HEAP, 100_000)]
        await guest_.raw("f", words)
        assert host.given == [("aaa", b"a" * 100_000)]
        with pytest.raises(LimitExceeded):
            await guest_.raw("f", [words[0], struct.pack("<I", 32_032), *words[2:]])
        instance.close()


NESTED = """(component
  (type $T (instance (export "f" (func (param "s" string)))))
  (import "{outer}" (instance $in (type $T)))
  (component $Inner
    (type $T (instance (export "f" (func (param "s" string)))))
    (import "{inner}" (instance $in (type $T)))
    (core module $Libc (memory (export "memory") 200))
    (core instance $libc (instantiate $Libc))
    (alias export $in "f" (func $f))
    (core func $f (canon lower (func $f) (memory (core memory $libc "memory"))))
    (core module $Main (import "h" "f" (func $f (param i32 i32)))
      (func (export "run") (param i32) (call $f (i32.const 0) (local.get 0))))
    (core instance $main (instantiate $Main (with "h" (instance (export "f" (func $f))))))
    (func (export "run") (param "n" u32) (canon lift (core func $main "run"))))
  (instance $inner (instantiate $Inner (with "{inner}" (instance $in))))
  (export "run" (func $inner "run")))"""


async def test_functions_of_wasi_are_weighed_in_components_within() -> None:
    sizes: list[int] = []
    name = "wasi:made/up@0.2.0"
    wasm = assemble(NESTED.format(outer=name, inner=name))
    async with running(
        guarded(wasm, [name], assemble), {name: {"f": lambda text: sizes.append(len(text))}}
    ) as instance:
        await instance.call("run", 8 << 20)
        with pytest.raises(LimitExceeded):
            await instance.call("run", 9 << 20)
    assert sizes == [8 << 20]


def test_what_components_within_say_to_each_other_is_their_own_business() -> None:
    wasm = assemble(NESTED.format(outer="wasi:made/up@0.2.0", inner="other:made/up"))
    assert guarded(wasm, ["wasi:made/up@0.2.0"], assemble) is wasm


def test_several_memories_are_told_apart() -> None:
    two = """(component
      (import "in" (instance $in (export "f" (func (param "s" string)))))
      (core module $Libc (memory (export "memory") 1))
      (core instance $one (instantiate $Libc)) (core instance $two (instantiate $Libc))
      (alias export $in "f" (func $f))
      (core func $f1 (canon lower (func $f) (memory (core memory $one "memory"))))
      (core func $f2 (canon lower (func $f) (memory (core memory $two "memory"))))
      (core module $Main (import "h" "f1" (func (param i32 i32))) (import "h" "f2" (func (param i32 i32))))
      (core instance (instantiate $Main (with "h"
        (instance (export "f1" (func $f1)) (export "f2" (func $f2)))))))"""
    wasm = guarded(assemble(two), ["in"], assemble)
    assert wasm.count(b"wasmplex-too-much") == 2
    assert isinstance(read(wasm).imports[0].type, InstanceType)
