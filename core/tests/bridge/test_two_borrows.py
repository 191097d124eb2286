"""Functions that are linked directly and lent several resources, in an engine that supports concurrency."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime
from wasmplex.bridge import BridgedInstance, bridge
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.defects import TWO_BORROWS
from wasmplex.engine.text import assemble
from wasmplex.engine.variants import new_config
from wasmtime import component as c

from . import echo

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

# The core functions hand over what they make; `go` is asynchronous, so the engine supports concurrency.
GUEST = """
(component
  (import "things" (instance $h
    (export "thing" (type $thing (sub resource)))
    (type $lent (borrow $thing)) (type $all (list $lent)) (type $own (own $thing))
    (export "make" (func (param "n" u32) (result $own)))
    (export "one" (func (param "v" $lent) (result u32)))
    (export "two" (func (param "a" $lent) (param "b" $lent) (result u32)))
    (export "all" (func (param "v" $all) (result u32)))
    (export "mixed" (func (param "a" $lent) (param "b" $own) (param "c" $lent) (result u32)))))
  (alias export $h "thing" (type $thing))
  (core module $Memory (memory (export "memory") 1))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (core func $drop (canon resource.drop $thing))
  (core func $make (canon lower (func $h "make")))
  (core func $one (canon lower (func $h "one")))
  (core func $two (canon lower (func $h "two")))
  (core func $all (canon lower (func $h "all") (memory $mem)))
  (core func $mixed (canon lower (func $h "mixed")))
  (core module $C
    (import "m" "memory" (memory 1))
    (import "h" "drop" (func $drop (param i32)))
    (import "h" "make" (func $make (param i32) (result i32)))
    (import "h" "one" (func $one (param i32) (result i32)))
    (import "h" "two" (func $two (param i32 i32) (result i32)))
    (import "h" "all" (func $all (param i32 i32) (result i32)))
    (import "h" "mixed" (func $mixed (param i32 i32 i32) (result i32)))
    (func (export "go") (result i32) (local $a i32) (local $b i32) (local $sum i32)
      (local.set $a (call $make (i32.const 1)))
      (local.set $b (call $make (i32.const 2)))
      (i32.store (i32.const 16) (local.get $a))
      (i32.store (i32.const 20) (local.get $b))
      (i32.store (i32.const 24) (local.get $a))
      (local.set $sum (i32.add (call $one (local.get $a))
        (i32.add (call $two (local.get $a) (local.get $b)) (call $all (i32.const 16) (i32.const 3)))))
      (local.set $sum (i32.add (local.get $sum)
        (call $mixed (local.get $a) (call $make (i32.const 100)) (local.get $b))))
      (call $drop (local.get $a)) (call $drop (local.get $b))
      (local.get $sum)))
  (core instance $c (instantiate $C (with "m" (instance $memory)) (with "h" (instance
    (export "drop" (func $drop)) (export "make" (func $make)) (export "one" (func $one))
    (export "two" (func $two)) (export "all" (func $all)) (export "mixed" (func $mixed))))))
  (func (export "go") async (result u32) (canon lift (core func $c "go"))))
"""


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number
        self.dropped = 0

    def drop(self) -> None:
        self.dropped += 1


@pytest.mark.parametrize("waits", [False, True])
async def test_several_resources_are_lent_at_once(waits: bool) -> None:
    made: list[Thing] = []

    def make(n: int) -> Thing:
        made.append(Thing(n))
        return made[-1]

    def total(*things: Thing) -> int:
        return sum(thing.number for thing in things)

    async def later(*things: Thing) -> int:
        return total(*things)

    some = later if waits else total
    functions: dict[str, Any] = {
        "make": make, "one": some, "two": some, "mixed": some, "all": lambda things: total(*things),
    }  # fmt: skip
    imports = {"things": functions}
    wasm = assemble(GUEST)
    bridged = bridge(wasm, read(wasm), imports, assemble, lambda item: False, echo.TRANSPORT)
    assert bridged is not None
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(bridged.wasm, read(bridged.wasm))
        linked = engine.link(compiled, bridged.link(imports), "test")
        instance = BridgedInstance(await linked.instantiate(), bridged)
        for _ in range(2):
            made.clear()
            assert await instance.call("go") == 1 + 3 + 4 + 103
            assert [thing.dropped for thing in made] == [1, 1, 0]  # the third was given to the host
            assert len(instance.objects) == 0
        instance.close()


@pytest.mark.usefixtures("transport")
@pytest.mark.skipif(not TWO_BORROWS.present, reason="this wasmtime has it no more")
async def test_wasmtime_still_has_the_defect() -> None:
    """When this fails, `TWO_BORROWS.mended_in` is to be set to the version that is installed."""
    engine = wasmtime.Engine(new_config({}, concurrency=True))
    store, linker = wasmtime.Store(engine), c.Linker(engine)
    store.set_epoch_deadline(1)
    with linker.root() as root, root.add_instance("r") as things:
        things.add_resource("t", c.ResourceType.host(7), lambda *a: None)
        things.add_func("make", lambda s: c.ResourceHost.own(1, 7).to_any(s))
        things.add_func("same", lambda s, a, b: (a.drop(s), b.drop(s), True)[-1])
    guest = c.Component(engine, ALONE)
    go = linker.instantiate(store, guest).get_func(store, "go")
    assert go is not None
    with pytest.raises(wasmtime.WasmtimeError, match="deferred host scope has no call context"):
        go(store)


ALONE = """(component
  (import "r" (instance $r (export "t" (type $t (sub resource)))
    (export "make" (func (result (own $t))))
    (export "same" (func (param "a" (borrow $t)) (param "b" (borrow $t)) (result bool)))))
  (core func $make (canon lower (func $r "make")))
  (core func $same (canon lower (func $r "same")))
  (core module $m (import "" "make" (func $make (result i32)))
    (import "" "same" (func $same (param i32 i32) (result i32)))
    (func (export "go") (result i32) (call $same (call $make) (call $make))))
  (core instance $i (instantiate $m (with "" (instance (export "make" (func $make))
    (export "same" (func $same))))))
  (func (export "go") (result bool) (canon lift (core func $i "go"))))"""
