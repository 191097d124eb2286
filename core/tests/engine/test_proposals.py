"""Names of wasm proposals, and what becomes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, proposals
from wasmplex.engine.variants import check
from wasmplex.errors import ComponentError, UsageError
from wasmtime import wat2wasm

MAP_GUEST = '(component (type $m (map string u32)) (import "f" (func (param "m" $m))))'


@given(st.sampled_from(sorted(proposals.KNOWN)), st.booleans(), st.data())
def test_names_are_read_in_any_spelling(name: str, enable: bool, data: st.DataObject) -> None:
    if name == "component-model-implements":
        enable = True
    spelled = "".join(
        data.draw(st.sampled_from([c, c.upper()])) if c != "-" else data.draw(st.sampled_from("-_"))
        for c in name
    )
    assert proposals.parse([f"{'' if enable else '-'}{spelled}"]) == {name: enable}


def test_lists_commas_and_repetition() -> None:
    assert proposals.parse(["GC, Tail_Call", "-threads", "", "-gc"]) == {
        "gc": False,
        "tail-call": True,
        "threads": False,
    }
    assert proposals.parse(["exceptions"]) == {"exception-handling": True}


def test_unknown_name_is_refused_with_the_nearest_and_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        proposals.parse(["gc", "tailcall"])
    text = caught.value.render()
    assert "'tailcall'" in text
    assert "did you mean 'tail-call'" in text
    assert all(name in text for name in proposals.KNOWN)


def test_labels_cannot_be_switched_off() -> None:
    with pytest.raises(UsageError, match="cannot be switched off"):
        proposals.parse(["-component-model-implements"])


def test_proposals_that_need_each_other_are_refused_before_they_end_the_process() -> None:
    check({"gc": True, "threads": False}, concurrency=False)
    with pytest.raises(UsageError, match="reference-types"):
        check({"reference-types": False}, concurrency=True)


@pytest.mark.anyio
@pytest.mark.parametrize(("chosen", "works"), [({}, False), ({"component-model-map": True}, True)])
async def test_component_that_needs_a_proposal(chosen: dict[str, bool], works: bool) -> None:
    wasm = bytes(wat2wasm(MAP_GUEST))
    async with Engine(EngineSettings(proposals=chosen, use_cache=False)) as engine:
        if works:
            assert (await engine.compile(wasm, read(wasm))).size == len(wasm)
        else:
            with pytest.raises(ComponentError, match="map"):
                await engine.compile(wasm, read(wasm))


@pytest.mark.anyio
async def test_labels_are_always_on() -> None:
    text = """(component
      (import "cache" (implements "a:b/c") (instance (export "f" (func))))
      (import "store" (implements "a:b/c") (instance (export "f" (func)))))"""
    wasm = bytes(wat2wasm(text))
    shape = read(wasm)
    assert [item.label for item in shape.imports] == ["cache", "store"]
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(wasm, shape)
        linked = engine.link(compiled, {"cache": {"f": lambda: None}, "store": {"f": lambda: None}}, "shop")
        (await linked.instantiate()).close()


@pytest.mark.parametrize(("reason", "unused", "said"), [
    ("type not valid to be used as import (at offset 0x33d)", ["component-model-async", "gc"], ""),
    ("threads support is not enabled", ["gc", "threads"],
     "switch on the wasm proposals that it uses: threads"),
    ("heap types not supported without the gc feature: gc proposal not enabled", ["gc"],
     "switch on the wasm proposals that it uses: gc"),
    ("`thread.index` requires the component model threading feature (at offset 0x104)",
     ["component-model-more-async-builtins", "component-model-threading"], "there is no switch for it"),
])  # fmt: skip
def test_a_hint_names_what_has_to_do_with_it_and_can_be_switched(
    reason: str, unused: list[str], said: str
) -> None:
    found = proposals.hint(reason, unused)
    assert found.startswith(said)
    assert bool(found) == bool(said)
