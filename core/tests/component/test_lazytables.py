"""Tables that fill themselves: every function is found from everywhere, and nothing else is touched."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import guests
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.component import read, sharedtables
from wasmplex.component.lazytables import lazy
from wasmplex.component.sharedtables import LEAST
from wasmplex.engine import Engine, EngineSettings, Instance
from wasmplex.engine.text import assemble
from wasmplex.errors import Trap
from wasmplex.testing.loops import everything

pytestmark = pytest.mark.anyio

COUNT, BASE, OTHER, SIZE = LEAST + 7, 40, 20, 2000
KINDS = ["", "i32", "i64", "f32", "f64", "i32 i64 f64", "f32 f32 i32 i32 i32"]


def signature(number: int) -> tuple[str, str]:
    """Return parameters and result of a function of the library."""
    return KINDS[number % len(KINDS)], ["i32", "i64", "f64", ""][number % 4]


def library_function(number: int) -> str:
    params, result = signature(number)
    value = f"({result}.const {number})" if result else ""
    note = f"(global.set $called (i32.const {number}))"
    return f"(func $f{number} (param {params}) (result {result}) {note} {value})"


LIBRARY = f"""
  (core module $library
    (import "env" "table" (table $t {COUNT} funcref))
    (import "env" "base" (global $base i32))
    (global $called (mut i32) (i32.const -1))
    {"".join(map(library_function, range(COUNT)))}
    (elem (global.get $base) func {" ".join(f"$f{number}" for number in range(COUNT))})
    (func (export "called") (result i32) (global.get $called))
    (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))
"""


def caller(number: int) -> str:
    """Return a function that calls the library's function of that number through the table."""
    params, result = signature(number)
    arguments = " ".join(f"({kind}.const {at})" for at, kind in enumerate(params.split()))
    call = f"(call_indirect (param {params}) (result {result}) {arguments} (i32.const {BASE + number}))"
    return f'(func (export "c{number}") {call} {"drop" if result else ""})'


CALLED = [*range(30), COUNT // 2, COUNT - 2, COUNT - 1]
OTHERS = f"""
  (core module $other
    (import "env" "table" (table 1 funcref))
    (import "env" "base" (global $base i32))
    (elem (global.get $base) func $own $with)
    (func $own (result i32) (i32.const 77))
    (func $with (param i32) (result i32) (local.get 0))
    {"".join(map(caller, CALLED))}
    (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))
"""
TABLE = f'(table (export "table") {SIZE} funcref)'
MAIN = f"""
  (core module $main
    {TABLE}
    (global (export "library") i32 (i32.const {BASE}))
    (global (export "other") i32 (i32.const {OTHER}))
    (global (export "changing") (mut i32) (i32.const {BASE})))
"""
INSTANCES = """
  (core instance $m (instantiate $main))
  (core instance $l (instantiate $library
    (with "env" (instance (export "table" (table $m "table")) (export "base" (global $m "library"))))))
  (core instance $o (instantiate $other
    (with "env" (instance (export "table" (table $m "table")) (export "base" (global $m "other"))))))
"""
EXPORTS = (
    "".join(f'(func (export "c{number}") (canon lift (core func $o "c{number}")))' for number in CALLED)
    + """
  (func (export "called") (result s32) (canon lift (core func $l "called")))
  (func (export "call-in-library") (param "at" s32) (result s32) (canon lift (core func $l "call")))
  (func (export "call-in-other") (param "at" s32) (result s32) (canon lift (core func $o "call")))
"""
)
TEXT = f"(component {MAIN} {LIBRARY} {OTHERS} {INSTANCES} {EXPORTS})"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(use_cache=False))
    yield engine
    engine.close()


async def instance_of(engine: Engine, wasm: bytes) -> Instance:
    return await engine.link(await engine.compile(wasm, read(wasm)), {}, "shop").instantiate()


@pytest.fixture(scope="module")
def made() -> bytes:
    made = lazy(assemble(TEXT), assemble)
    assert made is not None
    return made


async def test_functions_of_all_signatures_are_called_from_outside(engine: Engine, made: bytes) -> None:
    instance = await instance_of(engine, made)
    for number in CALLED:
        await instance.call(f"c{number}")
        assert await instance.call("called") == number
    instance.close()


async def test_every_place_of_the_table_is_what_it_was(engine: Engine, made: bytes) -> None:
    for export in ("call-in-library", "call-in-other"):
        before, after = await outcomes(engine, assemble(TEXT), export), await outcomes(engine, made, export)
        assert before == after
        assert before[OTHER] == 77
        assert before[BASE] == 0
        assert "indirect call type mismatch" in str(before[BASE + 1])
        assert "uninitialized element" in str(before[0])
        assert "uninitialized element" in str(before[BASE + COUNT])
        assert "undefined element" in str(before[SIZE])


async def outcomes(engine: Engine, wasm: bytes, export: str) -> dict[int, object]:
    found: dict[int, object] = {}
    for at in [*range(BASE + 70), *range(BASE + COUNT - 70, BASE + COUNT + 5), SIZE - 1, SIZE, -1]:
        instance = await instance_of(engine, wasm)
        try:
            found[at] = await instance.call(export, at)
        except Trap as trap:
            found[at] = trap.diagnostics[0].why
        instance.close()
    return found


async def test_numbers_of_all_kinds_pass_through(engine: Engine) -> None:
    """What a stand-in and a forwarder are given and give back."""
    values = {"i32": 2**31 - 1, "i64": 2**63 - 1, "f32": 1.5, "f64": -2.25}
    params = " ".join(values)
    constants = " ".join(f"({kind}.const {value})" for kind, value in values.items())
    stored = "".join(
        f"({kind}.store (i32.const {8 * at}) (local.get {at}))" for at, kind in enumerate(values)
    )
    text = TEXT.replace(library_function(0), f"""
      (memory (export "memory") 1)
      (func $f0 (param {params} v128) (result i32 i64)
        {stored} (v128.store (i32.const 32) (local.get 4)) (i32.const 5) (i64.const 6))""")  # fmt: skip
    text = text.replace(caller(0), f"""
      (func (export "c0") (result i64)
        (call_indirect (param {params} v128) (result i32 i64) {constants}
          (v128.const i64x2 3 4) (i32.const {BASE})) (local.set 1) drop (local.get 1))""".replace(
        "(result i64)\n", "(result i64) (local i32 i64)\n", 1))  # fmt: skip
    text = text.replace('(func (export "c0") (canon lift', '(func (export "c0") (result s64) (canon lift')
    loads = "".join(
        f'(func (export "l{at}") (result i64) (i64.load (i32.const {8 * at})))' for at in range(6)
    )
    text = text.replace('(func (export "called")', f'{loads} (func (export "called")', 1)
    lifts = "".join(
        f'(func (export "l{at}") (result s64) (canon lift (core func $l "l{at}")))' for at in range(6)
    )
    made = lazy(assemble(text[:-1] + lifts + ")"), assemble)
    assert made is not None
    instance = await instance_of(engine, made)
    assert await instance.call("c0") == 6
    found = [await instance.call(f"l{at}") for at in range(6)]
    half = struct.unpack("<q", struct.pack("<fi", 1.5, 0))[0]
    assert found == [2**31 - 1, 2**63 - 1, half, struct.unpack("<q", struct.pack("<d", -2.25))[0], 3, 4]
    instance.close()


def test_the_library_no_longer_writes_into_a_table_of_others(made: bytes) -> None:
    assert made.count(b"\x03env\x05table\x01\x70") == assemble(TEXT).count(b"\x03env\x05table\x01\x70") - 1
    assert lazy(made, assemble) is None


SECOND = INSTANCES.replace("$l ", "$l2 ").replace("$m ", "$m2 ").replace("$o ", "$o2 ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{library_function(7)}", f"{library_function(7)} (func $go) (start $go)"),
        (MAIN, MAIN + "(component (core module (func $f) (start $f)))"),
        (MAIN, MAIN + "(component (component (core module (func $f) (start $f))))"),
        ('(global $m "library")', '(global $m "changing")'),
        (TABLE, f"{TABLE} (table 1 funcref)"),
        (TABLE, TABLE.replace(str(SIZE), str(BASE + COUNT - 1))),
        (TABLE, f"{TABLE} (func $x) (elem (i32.const 0) func $x)"),
        ('(elem (global.get $base) func $f0', '(elem (i32.add (global.get $base) (i32.const 0)) func $f0'),
        ('(elem (global.get $base) func $f0', '(elem func $f1) (elem (global.get $base) func $f0'),
        ('(func (export "called")', '(table 1 funcref) (func (export "called")'),
        ('(func (export "called")', '(export "again" (table $t)) (func (export "called")'),
        (INSTANCES, INSTANCES + SECOND),
        ("(global $called", "(type (struct)) (global $called"),
    ],
)  # fmt: skip
def test_what_might_be_something_else_is_left_alone(old: str, new: str) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    assert lazy(assemble(text), assemble) is None


@pytest.mark.parametrize(("base", "steps_aside"), [
    (str(BASE - 2), False), (str(BASE - 1), True), (str(BASE + COUNT - 1), True), (str(BASE + COUNT), False),
])  # fmt: skip
@pytest.mark.parametrize("form", ["elem (i32.const {}) func", "elem (table 0) (i32.const {}) func"])
def test_a_table_that_another_library_reaches_into_is_left_alone(
    base: str, steps_aside: bool, form: str
) -> None:
    """What that one puts there later would be found through the one table, and not through the other."""
    text = TEXT.replace("elem (global.get $base) func $own", f"{form.format(base)} $own")
    assert text != TEXT
    assert (lazy(assemble(text), assemble) is None) is steps_aside


def test_a_table_that_another_library_might_reach_into_is_left_alone() -> None:
    text = TEXT.replace("elem (global.get $base) func $own", "elem func $own")  # written by an instruction
    assert lazy(assemble(text), assemble) is None


def test_few_functions_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharedtables, "LEAST", COUNT + 1)
    assert lazy(assemble(TEXT), assemble) is None
    assert lazy(assemble("(component)"), assemble) is None


WASM = assemble(TEXT)


@given(st.integers(0, len(WASM) - 1), st.integers(0, 255), st.booleans())
@settings(max_examples=300)
def test_malformed_components_raise_nothing(at: int, byte: int, cut: bool) -> None:
    lazy(WASM[:at] if cut else WASM[:at] + bytes([byte]) + WASM[at + 1 :], assemble)


@pytest.mark.slow  # the first run compiles it
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["py-hello", "py-kv"] if everything() else ["py-wasi3"])  # made for others
def test_cpython_is_such_a_library(name: str) -> None:
    assert lazy(guests.compiled(name).read_bytes(), assemble) is not None
