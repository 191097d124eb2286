"""Images of memories, taken out of components."""

from __future__ import annotations

import guests
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.component import images
from wasmplex.component.images import LEAST, without_images
from wasmplex.engine.text import assemble
from wasmplex.testing.loops import everything
from wasmtime import Engine, WasmtimeError
from wasmtime.component import Component

PAGE = 1 << 16
FULL = f'(data (i32.const 10) "{"x" * LEAST}")'
MEMORY = '(memory (export "m") 5)'


def module(body: str) -> str:
    return f"(component (core module {body}) (core instance (instantiate 0)))"


def test_the_data_of_a_large_memory_is_taken_out() -> None:
    wasm = assemble(
        module(f'{MEMORY} {FULL} (data (i32.const {5 * PAGE - 1}) "y") (data (i32.const 12) "z")')
    )
    left, found = without_images(wasm)
    assert len(left) < 1000
    Component(Engine(), left)
    [image] = found
    assert (image.maximum, image.size) == (65535 * PAGE, 5 * PAGE)
    assert image.segments == ((10, b"x" * LEAST), (5 * PAGE - 1, b"y"), (12, b"z"))
    assert without_images(left) == (left, [])


def test_memories_of_nested_components_are_told_apart() -> None:
    inner = f"(component (core module {MEMORY} {FULL}) (core instance (instantiate 0)))"
    twice = f"(core module {MEMORY} {FULL}) (core instance (instantiate 0))"
    left, found = without_images(assemble(f"(component {inner} {twice} {inner})"))
    assert [image.maximum for image in found] == [65535 * PAGE, 65534 * PAGE, 65533 * PAGE]
    assert len(left) < 1000
    Component(Engine(), left)


@pytest.mark.parametrize(
    "body",
    [
        f'{MEMORY} (data (i32.const 0) "{"x" * (LEAST - 1)}")',
        f'(memory 5 1000) {FULL}',
        f"(memory 65536) {FULL}",
        f"(memory 300) {FULL}",  # most of it would be a file of zeros
        f'(memory i64 5) (data (i64.const 0) "{"x" * LEAST}")',
        f'(memory 1) (memory 5) (data (memory 1) (i32.const 0) "{"x" * LEAST}")',
        f'{MEMORY} {FULL} (data "passive")',
        f'{MEMORY} {FULL} (func (data.drop 0))',
        f'{MEMORY} {FULL} (data (i32.add (i32.const 1) (i32.const 1)) "x")',
        f'{MEMORY} (global $g i32 (i32.const 0)) {FULL} (data (global.get $g) "x")',
        f'(memory 2) {FULL} (data (i32.const {2 * PAGE}) "x")',
        f'(memory 2) {FULL} (data (i32.const -1) "x")',
    ],
)  # fmt: skip
def test_what_might_be_something_else_is_left_alone(body: str) -> None:
    wasm = assemble(module(body))
    left, found = without_images(wasm)
    assert left is wasm
    assert found == []


def test_no_other_memory_has_the_mark_of_an_image() -> None:
    others = "(core module (memory 1 65535)) (component (core module (memory 0 65534)))"
    left, found = without_images(assemble(f"(component (core module {MEMORY} {FULL}) {others})"))
    assert [image.maximum for image in found] == [65533 * PAGE]
    assert len(left) < 1000


def test_data_of_an_imported_memory_is_not_taken_for_that_of_another() -> None:
    wasm = assemble(f'(component (core module (import "a" "m" (memory 5)) (memory 5) {FULL}))')
    assert without_images(wasm) == (wasm, [])


def test_a_memory_that_is_imported_is_left_alone() -> None:
    text = f"""(component
      (core module $a {MEMORY}) (core instance $a (instantiate $a))
      (core module $b (import "a" "m" (memory 5)) {FULL})
      (core instance (instantiate $b (with "a" (instance $a)))))"""
    wasm = assemble(text)
    assert without_images(wasm) == (wasm, [])


WASM = assemble(module(f'{MEMORY} (data (i32.const 10) "{"x" * 64}") (func (export "f") (memory.size) drop)'))


@given(st.integers(0, len(WASM) - 1), st.integers(0, 255), st.booleans())
@settings(max_examples=300)
def test_malformed_components_raise_nothing_and_stay_malformed(at: int, byte: int, cut: bool) -> None:
    wasm = WASM[:at] if cut else WASM[:at] + bytes([byte]) + WASM[at + 1 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "LEAST", 16)
        left, found = without_images(wasm)
    if found:
        assert accepted(wasm) == accepted(left)


def accepted(wasm: bytes) -> bool:
    try:
        Component(Engine(), wasm)
    except WasmtimeError:
        return False
    return True


PYTHON = "py-hello" if everything() else "py-wasi3"  # which is compiled for others


@pytest.mark.slow  # the first run compiles them
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "least"), [(PYTHON, 8 << 20), ("qjs-hello", 1 << 20)])
def test_interpreters_have_images(name: str, least: int) -> None:
    wasm = guests.compiled(name).read_bytes()
    left, found = without_images(wasm)
    assert sum(image.size for image in found) >= least
    assert len(left) < len(wasm)
