"""Bytes of functions linked directly, taken and put where they lie in the guest's memory."""

from __future__ import annotations

import resource
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from wasmplex.bridge import in_place, locate
from wasmplex.bridge.inplace import PREFIX
from wasmplex.bridge.transport import CALL_MARKS
from wasmplex.component import read
from wasmplex.component.draft import Draft
from wasmplex.component.memories import only_memory
from wasmplex.component.shape import Shape
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.inplace import MOST, Places
from wasmplex.engine.text import assemble
from wasmplex.errors import LimitExceeded, Trap
from wasmplex.plugins.contracts import HostFunction
from wasmplex.values import Err, Ok
from wasmplex.wit.types import FuncType, ListType, Option, Param, Primitive, ResultType, TupleType, ValueType

from .lowered import HEAP, TOP, Lowered, guest
from .test_lowered import EXAMPLES, MADE, PHASES, U8S, Host, Made

pytestmark = pytest.mark.anyio

STRING, U64 = Primitive("string"), Primitive("u64")
READ = ResultType(U8S, STRING)


@asynccontextmanager
async def calling(
    functions: dict[str, FuncType], serve: Callable[..., Any], *, moves: bool = True
) -> AsyncIterator[Lowered]:
    """Run a guest that calls some functions.

    :param moves: whether any of them moves bytes in place
    """
    wasm, imports = guest(functions), {"in": dict.fromkeys(functions, serve)}
    placed = in_place(wasm, ["in"], assemble)
    assert (placed is not None) == moves
    async with Engine(EngineSettings(use_cache=False)) as engine:
        if placed is None:
            compiled = await engine.compile(wasm, read(wasm))
            instance = await engine.link(compiled, imports, "test").instantiate()
        else:
            compiled = await engine.compile(placed.wasm, placed.shape)
            linked = engine.link(compiled, placed.imports(imports), "test", locate=locate)
            instance = await linked.instantiate()
        try:
            yield Lowered(instance, functions)
        finally:
            instance.close()


def function(*params: ValueType, result: ValueType | None = None) -> FuncType:
    return FuncType(tuple(Param(f"p{n}", type_) for n, type_ in enumerate(params)), result)


def moves_bytes(type_: FuncType) -> bool:
    return any(map(_has_bytes, (*(param.type for param in type_.params), type_.result)))


def _has_bytes(type_: ValueType | None) -> bool:
    """Whether there are bytes in a type, neither in a list nor inside of a type that needs a name."""
    match type_:
        case ListType(Primitive("u8"), None):
            return True
        case Option(element):
            return _has_bytes(element)
        case TupleType(elements):
            return any(map(_has_bytes, elements))
        case ResultType(ok, err):
            return _has_bytes(ok) or _has_bytes(err)
    return False


@pytest.mark.parametrize("how", ["answer", "at_once", "later"])
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(MADE)
async def test_any_function(how: str, made: Made) -> None:
    host, all_ = Host(), {f"f{number}": type_ for number, (type_, _) in enumerate(made)}
    async with calling(all_, getattr(host, how), moves=any(map(moves_bytes, all_.values()))) as guest_:
        for number, (type_, calls) in enumerate(made):
            host.fallible = isinstance(type_.result, ResultType)
            for args, result in calls:
                host.result = result
                assert await guest_.call(f"f{number}", *args) == result, type_
                assert host.given.pop() == tuple(args), type_


@pytest.mark.parametrize("how", ["answer", "later"])
@pytest.mark.parametrize("size", [0, 1, 63, 65_536, (1 << 20) - 1, (1 << 20) + 1, 2 << 20])
async def test_bytes_of_any_size_cross_both_ways(how: str, size: int) -> None:
    host, data = Host(), Random(size).randbytes(size)
    host.fallible = True
    async with calling({"f": function(U8S, result=READ)}, getattr(host, how)) as guest_:
        for host.result in (Ok(data), Err("no"), Ok(data[::-1])):
            assert await guest_.call("f", b"abc") == host.result
    async with calling({"f": function(U8S)}, host.answer) as guest_:
        host.fallible, host.result = False, None
        await guest_.instance.call("poke", HEAP, data[: TOP - HEAP])
        size = min(size, TOP - HEAP)
        await guest_.raw("f", [struct.pack("<I", HEAP), struct.pack("<I", size)])
        assert host.given[-1] == (data[:size],)


async def test_several_lists_in_one_result_are_taken_each() -> None:
    host = Host()
    result = TupleType((Primitive("u8"), U8S, Option(U8S), ResultType(TupleType((U64, U8S)), U8S), U8S))
    async with calling({"f": function(result=result)}, host.answer) as guest_:
        for host.result in (
            (1, b"a", b"bc", Ok((2**63, b"def")), b""),
            (2, b"", None, Err(b"ghij"), b"klmno"),
        ):
            assert await guest_.call("f") == host.result


async def test_more_parameters_than_are_flat_lie_in_memory() -> None:
    host = Host()
    many = function(*[U64] * 16, U8S, result=U8S)
    async with calling({"f": many}, host.answer) as guest_:
        host.result = b"back"
        assert await guest_.call("f", *range(16), b"there") == b"back"
        assert host.given == [(*range(16), b"there")]


async def test_names_that_the_guest_has_taken_are_left_to_it() -> None:
    host = Host()
    taken = {f"{PREFIX}{n}": function(U8S, result=U8S) for n in range(3)}
    async with calling({**taken, "f": function(U8S)}, host.answer) as guest_:
        host.result = b"x"
        assert await guest_.call(f"{PREFIX}1", b"y") == b"x"


async def test_the_instance_is_given_to_those_who_want_it() -> None:
    seen: list[Any] = []
    serve = HostFunction(lambda instance, data: seen.append((instance.workload, data)), context=True)
    async with calling({"f": function(U8S)}, serve) as guest_:  # type: ignore[arg-type]
        await guest_.call("f", b"abc")
    assert seen == [("test", b"abc")]


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc"), [97, 98, 99], (97, 98, 99)])
async def test_whatever_is_bytes_elsewhere_is_bytes_here(data: Any) -> None:
    async with calling({"f": function(result=U8S)}, lambda: data) as guest_:
        assert await guest_.call("f") == b"abc"


@pytest.mark.parametrize("data", ["abc", None, 7, [256], object()])
async def test_what_is_none_is_said_with_its_place(data: Any) -> None:
    async with calling({"f": function(result=READ)}, lambda: data) as guest_:
        with pytest.raises(Trap) as caught:
            await guest_.call("f")
    assert "in#f: result.ok" in str(caught.value)


# ---------------------------------------------------------------- guests that do as they like


@pytest.mark.parametrize(
    ("at", "size"), [(0, 1 << 31), (TOP << 4, 1), (0xFFFF_FFFF, 0xFFFF_FFFF), (1 << 31, 0)]
)
async def test_an_argument_that_lies_elsewhere_is_a_trap(at: int, size: int) -> None:
    host = Host()
    async with calling({"f": function(U8S)}, host.answer) as guest_:
        with pytest.raises(Trap, match="out of bounds of memory"):
            await guest_.raw("f", [struct.pack("<I", at), struct.pack("<I", size)])
        assert guest_.instance.poisoned
    assert host.given == []


RIGGED = """(component
  (import "in" (instance $in (export "read" (func (param "n" u32) (result (list u8))))))
  (core module $Libc (memory (export "memory") 2)
    (global $to (mut i32) (i32.const 0))
    (func (export "set") (param i32) (global.set $to (local.get 0)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (global.get $to)))
  (core instance $libc (instantiate $Libc))
  (alias core export $libc "memory" (core memory $mem))
  (alias core export $libc "realloc" (core func $realloc))
  (alias export $in "read" (func $read))
  (core func $read (canon lower (func $read) (memory $mem) (realloc $realloc)))
  (core module $Main
    (import "l" "memory" (memory 1)) (import "l" "set" (func $set (param i32)))
    (import "h" "read" (func $read (param i32 i32)))
    (func (export "run") (param i32 i32) (result i32)
      (call $set (local.get 1)) (call $read (local.get 0) (i32.const 8)) (i32.load8_u (local.get 1))))
  (core instance $main (instantiate $Main (with "l" (instance $libc))
    (with "h" (instance (export "read" (func $read))))))
  (func (export "run") (param "n" u32) (param "to" u32) (result u32) (canon lift (core func $main "run"))))"""


@asynccontextmanager
async def running(wasm: bytes, imports: dict[str, dict[str, Any]]) -> AsyncIterator[Any]:
    placed = in_place(wasm, list(imports), assemble)
    assert placed is not None
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(placed.wasm, placed.shape)
        linked = engine.link(compiled, placed.imports(imports), "test", locate=locate)
        instance = await linked.instantiate()
        yield instance
        instance.close()


async def test_room_that_the_guest_does_not_have_is_a_trap() -> None:
    for to in (2 << 16, (2 << 16) - 99, 0xFFFF_FFFF):
        async with running(assemble(RIGGED), {"in": {"read": bytes}}) as instance:
            assert await instance.call("run", 100, (2 << 16) - 100) == 0
            with pytest.raises(Trap, match="beyond end of memory"):
                await instance.call("run", 100, to)


async def test_what_nobody_took_ends_with_the_instance() -> None:
    async with running(assemble(RIGGED), {"in": {"read": bytes}}) as instance:
        with pytest.raises(Trap):
            await instance.call("run", 5 << 20, 0)
        store = instance._store
        assert store.places._kept
        instance.close()
        assert store.places is None


async def test_an_argument_of_more_than_is_copied_at_once_is_refused() -> None:
    grown = RIGGED.replace('(memory (export "memory") 2)', f'(memory (export "memory") {(MOST >> 16) + 2})')
    grown = grown.replace('(param "n" u32) (result (list u8))', '(param "data" (list u8))')
    grown = grown.replace(
        "(call $read (local.get 0) (i32.const 8))", "(call $read (i32.const 0) (local.get 0))"
    )
    sizes: list[int] = []
    async with running(assemble(grown), {"in": {"read": lambda data: sizes.append(len(data))}}) as instance:
        await instance.call("run", MOST, 0)
        with pytest.raises(LimitExceeded, match=f"{MOST + 1} bytes"):
            await instance.call("run", MOST + 1, 0)
    assert sizes == [MOST]


async def test_no_call_puts_more_than_a_piece_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = RIGGED.replace('(memory (export "memory") 2)', f'(memory (export "memory") {MOST >> 16})')
    pieces: list[int] = []
    fill = Places.fill

    def noting(places: Places, token: int, to: int) -> int:
        pieces.append(fill(places, token, to))
        return pieces[-1]

    monkeypatch.setattr(Places, "fill", noting)
    async with running(assemble(grown), {"in": {"read": bytes}}) as instance:
        assert await instance.call("run", MOST - 5, 0) == 0
    assert sum(pieces) == MOST - 5
    assert max(pieces) == 1 << 20


# ---------------------------------------------------------------- which components


MARKED = CALL_MARKS["below"].calls


@pytest.mark.parametrize(
    ("memories", "expected"),
    [
        ('(memory (export "memory") 2)', 0),
        ('(memory (export "memory") 2 9)', 9),
        ('(memory (export "memory") 2) (memory 1)', None),
        ('(memory (export "memory") i64 2)', None),
        ('(memory (export "memory") 2 9 shared)', None),
    ],
)
def test_the_memory_has_to_be_the_only_one(memories: str, expected: int | None) -> None:
    wasm = assemble(
        RIGGED.replace('(memory (export "memory") 2)', memories)
        .replace('(import "l" "memory" (memory 1))', "")
        .replace("(i32.load8_u (local.get 1))", "(i32.const 0)")
    )
    assert only_memory(Draft(wasm)) == expected


@pytest.mark.parametrize(
    "more",
    [
        "(core module $More (memory 1)) (core instance (instantiate $More))",
        "(core instance (instantiate $Libc))",
        "(component (core module (memory 1)))",
        "(component (component (core module (memory 1))))",
        '(import "m" (core module $Else))',
    ],
)
def test_several_memories_are_left_alone(more: str) -> None:
    wasm = assemble(RIGGED[:-1] + more + ")")
    assert only_memory(Draft(wasm)) is None
    assert in_place(wasm, ["in"], assemble) is None


@pytest.mark.parametrize("more", ["(core module (memory 1))", "(component (core module))"])
def test_memories_that_are_never_made_do_not_count(more: str) -> None:
    assert only_memory(Draft(assemble(RIGGED[:-1] + more + ")"))) == 0


def test_a_memory_with_the_mark_of_an_adapters_is_left_alone() -> None:
    wasm = assemble(RIGGED.replace('(memory (export "memory") 2)', f'(memory (export "memory") 2 {MARKED})'))
    assert in_place(wasm, ["in"], assemble) is None


def test_functions_that_move_no_bytes_are_left_alone() -> None:
    assert in_place(guest({"f": function(STRING, ListType(U64), result=STRING)}), ["in"], assemble) is None


def test_bytes_in_lists_are_left_alone() -> None:
    """A list may name the same bytes again and again; as values they are counted."""
    lists = {"f": function(ListType(U8S), ListType(TupleType((STRING, U8S))), result=ListType(U8S))}
    assert in_place(guest(lists), ["in"], assemble) is None


def test_imports_that_were_not_named_are_left_alone() -> None:
    assert in_place(assemble(RIGGED), ["other"], assemble) is None


# ---------------------------------------------------------------- what it is for


@pytest.mark.alone
async def test_bytes_take_little_more_memory_than_they_are_and_a_fraction_of_the_time() -> None:
    """As values, a quarter of it takes 20 MB of the host's memory, and a hundred times as long."""
    data, host = bytes(1 << 18), Host()
    wasm = assemble(RIGGED.replace('(memory (export "memory") 2)', '(memory (export "memory") 20)'))
    host.result = data
    times: dict[str, float] = {}
    async with Engine(EngineSettings(use_cache=False)) as engine:
        placed = in_place(wasm, ["in"], assemble)
        assert placed is not None
        imports = {"in": {"read": lambda n: data}}
        ways: dict[str, tuple[bytes, Shape, Any, bool]] = {
            "in place": (placed.wasm, placed.shape, placed.imports(imports), True),
            "values": (wasm, read(wasm), imports, False),
        }
        for name, (code, shape, served, host_memory) in ways.items():
            compiled = await engine.compile(code, shape)
            instance = await engine.link(compiled, served, "test", locate=locate).instantiate()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            spent = []
            for _ in range(5 if host_memory else 1):
                begun = time.perf_counter()
                await instance.call("run", len(data), 0)
                spent.append(time.perf_counter() - begun)
            times[name] = min(spent)
            if host_memory:
                assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 << 10
            instance.close()
    assert times["in place"] * 20 < times["values"]
