"""``limits.memory`` and ``limits.tables``: all memories, tables and heaps of an instance together."""

from __future__ import annotations

from typing import Any

import pytest
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, Instance, MemoryBudget
from wasmplex.engine.accounts import Account
from wasmplex.errors import LimitExceeded, Trap
from wasmplex.plugins.limits import Limits
from wasmtime import wat2wasm

pytestmark = pytest.mark.anyio

PAGE, MIB = 2**16, 2**20


def many(count: int, module: str, call: str) -> str:
    """Return a component with so many instances of a module, and `run` that calls each of them once."""
    instances = "\n".join(f"(core instance $i{n} (instantiate $m))" for n in range(count))
    imports = "\n".join(f'(import "{n}" "{call}" (func $f{n} (result i32)))' for n in range(count))
    given = " ".join(f'(with "{n}" (instance $i{n}))' for n in range(count))
    calls = "\n".join(f"(local.set $sum (i32.add (local.get $sum) (call $f{n})))" for n in range(count))
    return f"""(component
      (core module $m {module})
      {instances}
      (core module $main {imports}
        (func (export "run") (result i32) (local $sum i32) {calls} (local.get $sum)))
      (core instance $main (instantiate $main {given}))
      (func (export "run") (result s32) (canon lift (core func $main "run"))))"""


GROWING = """(memory (export "m") 1)
  (func (export "grow") (result i32) (memory.grow (i32.const 10)))"""


async def made(text: str, **limits: Any) -> tuple[Engine, Instance]:
    engine = Engine(EngineSettings(use_cache=False))
    wasm = bytes(wat2wasm(text))
    try:
        linked = engine.link(await engine.compile(wasm, read(wasm)), {}, "shop", Limits(**limits))
        return engine, await linked.instantiate()
    except BaseException:
        engine.close()
        raise


def ended(engine: Engine, instance: Instance) -> None:
    account: Account = instance.account
    instance.close()
    engine.close()
    assert (account.used, account.tenant.used, engine.memory.used) == (0, 0, 0)


async def test_memories_of_all_core_instances_count_together() -> None:
    engine, instance = await made(many(60, GROWING, "grow"), memory=8 * MIB)
    grown = await instance.call("run")  # each that grew says 1, the others -1
    assert sum(memory.size for memory in instance.memories) == instance.account.used <= 8 * MIB
    assert [memory.size for memory in instance.memories].count(11 * PAGE) == 6 == (grown + 60) // 2
    ended(engine, instance)


async def test_memories_of_one_module_and_wide_ones_count_as_well() -> None:
    text = """(component (core module $m (memory $a 1) (memory $b i64 1) (memory $c 2 3)
        (func (export "run") (result i32)
          (drop (memory.grow $a (i32.const 100))) (drop (memory.grow $b (i64.const 100)))
          (i32.add (memory.grow $c (i32.const 1)) (memory.size $a))))
      (core instance $i (instantiate $m))
      (func (export "run") (result s32) (canon lift (core func $i "run"))))"""
    engine, instance = await made(text, memory=105 * PAGE)
    assert await instance.call("run") == 2 + 101
    assert [memory.size // PAGE for memory in instance.memories] == [101, 1, 3]
    ended(engine, instance)


async def test_what_there_is_in_the_beginning_counts() -> None:
    with pytest.raises(
        LimitExceeded, match=r"memories, tables and heaps need (.|\n)*limits\.memory of \[workload\.shop\]"
    ):
        await made(many(60, GROWING, "grow"), memory=50 * PAGE)


async def test_a_trap_after_memory_was_refused_says_which_limit_it_was() -> None:
    text = many(1, """(memory 1) (func (export "grow") (result i32)
        (i32.load (i32.mul (memory.grow (i32.const 10)) (i32.const 65536))))""", "grow")  # fmt: skip
    engine, instance = await made(text, memory=5 * PAGE)
    with pytest.raises(
        Trap, match=r"limits\.memory had refused it(.|\n)*raise limits\.memory of \[workload\.shop\]"
    ):
        await instance.call("run")
    ended(engine, instance)


HEAP = """(component (core module $m
    (type $block (array (mut i8)))
    (table $kept 10000 (ref null $block))
    (func (export "run") (param $count i32) (result i32) (local $n i32)
      (loop $on
        (table.set $kept (local.get $n) (array.new_default $block (i32.const 65536)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $on (i32.lt_u (local.get $n) (local.get $count))))
      (local.get $n)))
  (core instance $i (instantiate $m))
  (func (export "run") (param "count" u32) (result s32) (canon lift (core func $i "run"))))"""


async def test_garbage_collected_heaps_count() -> None:
    engine, instance = await made(HEAP, memory=8 * MIB)
    assert await instance.call("run", 20) == 20
    assert 20 * PAGE < instance.account.used <= 8 * MIB
    with pytest.raises(Trap, match=r"limits\.memory"):
        await instance.call("run", 1000)
    assert instance.account.used <= 8 * MIB
    ended(engine, instance)


TABLE = """(table $t {limits} funcref)
  (func (export "grow") (result i32) (table.grow $t (ref.null func) (i32.const 300)))"""


async def test_tables_of_all_core_instances_count_together() -> None:
    engine, instance = await made(many(10, TABLE.format(limits="5"), "grow"), tables=2000)
    assert await instance.call("run") == -10  # 200 elements for each
    ended(engine, instance)
    engine, instance = await made(many(10, TABLE.format(limits="5"), "grow"), tables=3050)
    assert await instance.call("run") == 50
    ended(engine, instance)


async def test_tables_take_of_the_memory() -> None:
    text = many(2, f"{TABLE.format(limits='100000')} {GROWING.replace('grow', 'more', 1)}", "grow")
    text = text.replace("memory.more", "memory.grow")
    engine, instance = await made(text, memory=2 * MIB)
    assert instance.account.limit == 2 * MIB - 8 * 200_000
    ended(engine, instance)
    with pytest.raises(LimitExceeded, match=r"take 1600000 bytes(.|\n)*raise limits\.memory"):
        await made(text, memory=1_500_000)


@pytest.mark.parametrize("limits", ["400", "0 400"], ids=["fixed", "growing"])
async def test_more_tables_than_there_may_be_make_no_instance(limits: str) -> None:
    first = many(10, TABLE.format(limits="400 400"), "grow")
    first = first.replace(
        "(core instance $i0", f"(core module $w {TABLE.format(limits=limits)}) (core instance $i0"
    )
    first = first.replace("$i0 (instantiate $m)", "$i0 (instantiate $w)")
    engine, instance = await made(first, tables=4000)
    ended(engine, instance)
    with pytest.raises(LimitExceeded, match=r"raise limits\.tables of \[workload\.shop\]"):
        await made(first, tables=3999)


async def test_globals_and_functions_of_many_instances_take_memory_as_well() -> None:
    module = "\n".join(["(global (mut i64) (i64.const 1))"] * 1000) + GROWING
    with pytest.raises(LimitExceeded, match=r"core instances take"):
        await made(many(200, module, "grow"), memory=3 * MIB)


async def test_the_memory_of_a_host_bounds_all_instances_together() -> None:
    wasm = bytes(wat2wasm(many(1, GROWING, "grow")))
    async with Engine(EngineSettings(use_cache=False), memory=MemoryBudget(20 * PAGE, 2)) as engine:
        compiled = await engine.compile(wasm, read(wasm))
        limits = Limits(timeout=0.05)
        greedy, modest = (engine.link(compiled, {}, name, limits) for name in ("greedy", "modest"))
        instances = [await greedy.instantiate(), await greedy.instantiate()]
        assert await instances[0].call("run") == 1
        assert await instances[1].call("run") == -1
        instances += [await greedy.instantiate() for _ in range(6)]
        with pytest.raises(LimitExceeded, match=r"no memory left for another instance(.|\n)*\[host\] memory"):
            await greedy.instantiate()
        last = await modest.instantiate()
        last.close()
        for instance in instances:
            instance.close()
    assert engine.memory.used == 0
