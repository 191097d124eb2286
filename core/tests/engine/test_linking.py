"""What fits together is linked; what does not is named, all of it at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from wasmplex.errors import LinkError
from wasmplex.plugins.contracts import HostFunction

from .test_calls import kv

pytestmark = pytest.mark.anyio

ROOT = """(component
  (import "now" (func $now (result u64)))
  (import "log" (func $log (param "line" u32)))
  (core func $n (canon lower (func $now))) (core func $l (canon lower (func $log)))
  (core module $m (import "h" "n" (func $n (result i64))) (import "h" "l" (func $l (param i32)))
    (func (export "run") (result i64) (call $l (i32.const 7)) (call $n)))
  (core instance $i (instantiate $m (with "h" (instance (export "n" (func $n)) (export "l" (func $l))))))
  (func (export "run") (result u64) (canon lift (core func $i "run"))))"""

ASYNC = """(component
  (import "a:b/c" (instance
    (export "slow" (func async (param "n" u32)))
    (export "body" (func (param "b" (stream u8))))
    (export "fine" (func)))))"""

TYPES_ONLY = """(component
  (import "a:b/types" (instance (type $r (record (field "x" u32))) (export "r" (type (eq $r)))))
  (import "a:b/res" (instance (export "r" (type (sub resource))))))"""


async def problems(link_wat: Any, guest: str, imports: dict[str, Any]) -> list[str]:
    with pytest.raises(LinkError) as caught:
        await link_wat(guest, imports)
    return [diagnostic.render() for diagnostic in caught.value.diagnostics]


async def test_functions_imported_by_the_root(link_wat: Any) -> None:
    lines: list[int] = []
    for imports in ({"now": lambda: 5, "log": lines.append}, {"": {"now": lambda: 5, "log": lines.append}}):
        instance = await (await link_wat(ROOT, imports)).instantiate()
        assert await instance.call("run") == 5
        instance.close()
    assert lines == [7, 7]
    (problem,) = await problems(link_wat, ROOT, {"log": print})
    assert "'now'" in problem


async def test_nothing_serves_an_import(link_wat: Any) -> None:
    (problem,) = await problems(link_wat, "kv", {"test:kv/stor": {}})
    assert "import 'test:kv/store'" in problem
    assert "did you mean 'test:kv/stor'" in problem


async def test_all_problems_at_once(link_wat: Any) -> None:
    functions = kv()["test:kv/store"]
    del functions["open"]
    functions |= {"opens": print, "strlen": "not callable", "add": lambda a: a}
    found = await problems(link_wat, "kv", {"test:kv/store": functions})
    assert len(found) == 3
    text = "\n".join(found)
    assert "'open'" in text
    assert "did you mean 'opens'" in text
    assert "cannot be called" in text
    assert "it is called with (a, b)" in text
    assert all("workload 'shop', import 'test:kv/store'" in problem for problem in found)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a,
        lambda *args: 1,
        lambda a, b, c=3: a,
        max,
        partial(lambda x, a, b: a, 1),
        HostFunction(lambda instance, a, b: a, context=True),
    ],
)
async def test_signatures_that_fit(link_wat: Any, function: Any) -> None:
    await link_wat("kv", kv(add=function))


@pytest.mark.parametrize(
    "function",
    [lambda a, b, c: a, lambda a, b, *, c: a, HostFunction(lambda a, b: a, context=True), int.bit_length],
)
async def test_signatures_that_do_not_fit(link_wat: Any, function: Any) -> None:
    (problem,) = await problems(link_wat, "kv", kv(add=function))
    assert "another signature" in problem


async def test_async_callables_of_every_kind(new_instance: Any) -> None:
    class Adder:
        async def __call__(self, a: int, b: int) -> int:
            return a + b

        async def method(self, a: int, b: int) -> int:
            return a + b

    async def plus(x: int, a: int, b: int) -> int:
        return a + b + x

    for function in (Adder(), Adder().method, partial(plus, 0)):
        instance = await new_instance("kv", kv(add=function))
        assert await instance.call("run-add", 3) == 6


async def test_async_types_need_the_bridge(link_wat: Any) -> None:
    found = await problems(link_wat, ASYNC, {"a:b/c": {"slow": print, "body": print, "fine": lambda: None}})
    assert len(found) == 2
    assert "async func" in found[0]
    assert "stream" in found[1]
    assert all("bridge" in problem for problem in found)


async def test_instances_without_functions_need_nothing(link_wat: Any) -> None:
    (await (await link_wat(TYPES_ONLY, {})).instantiate()).close()


async def test_two_workloads_of_one_component(link_wat: Any, engine: Any) -> None:
    first = await link_wat("kv", kv(add=lambda a, b: 1), "first")
    second = engine.link(first.compiled, kv(add=lambda a, b: 2), "second")
    one, two = await first.instantiate(), await second.instantiate()
    assert [await one.call("run-add", 1), await two.call("run-add", 1)] == [1, 2]
    assert [one.workload, two.workload] == ["first", "second"]
    one.close()
    two.close()


async def test_an_interface_with_a_module_or_an_instance_in_it_is_refused(link_wat: Any) -> None:
    """Its functions would be called and fail: wasmtime looks for the module then."""
    text = """(component (import "a:b/c" (instance
      (export "f" (func)) (export "m" (core module)) (export "n" (instance (export "g" (func)))))))"""
    with pytest.raises(LinkError) as caught:
        await link_wat(text, {"a:b/c": {"f": lambda: None}})
    rendered = caught.value.render()
    assert "'m' in it is no function, resource or type" in rendered
    assert "'n' in it is no function, resource or type" in rendered
