"""Input that is no component, is damaged, or was made to hurt: always an error that says what and where."""

from __future__ import annotations

import gzip
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.component import read, relabel
from wasmplex.component.report import as_dict
from wasmplex.engine.text import assemble
from wasmplex.errors import ComponentError
from wasmplex.wit.render import render

GUESTS = Path(__file__).parents[3] / "tests" / "guests"
HEADER = b"\0asm\x0d\0\x01\0"


def leb(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def section(number: int, body: bytes) -> bytes:
    return bytes([number]) + leb(len(body)) + body


def message(wasm: bytes) -> str:
    with pytest.raises(ComponentError) as caught:
        read(wasm)
    (diagnostic,) = caught.value.diagnostics
    text = diagnostic.render()
    assert len(text.splitlines()) <= 4
    return text


CORE = assemble("(module)")
FUNC = section(7, b"\x01\x40\x00\x01\x00")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\0as", "this is not a component"),
        (b"\0asm\x0d", "the file ends after 5 bytes"),
        (CORE, "core WebAssembly module.*component embed .* && wasm-tools component new"),
        (
            CORE + section(0, b"\x13component-type:main"),
            "core WebAssembly module.*\n.*\n.*try: wasm-tools component new",
        ),
        (assemble('(module (import "wasi_snapshot_preview1" "fd_write" (func)))'), "--adapt"),
        (b"\0asm\x0a\0\x01\0", "WebAssembly component of version 0xa"),
        (b"(component (import", "WebAssembly text.*wasm-tools parse"),
        (b"  \n(module)", "core module.*wasm-tools parse"),
        (b"package wasi:io@0.2.0;", "WIT text"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b'{"schemaVersion": 2}', "a JSON file"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer.*git lfs pull"),
        (gzip.compress(b"x", mtime=0), "gzip archive"),
        (b"PK\x03\x04....", "zip archive"),
        (b"\x7fELF\x02\x01", "ELF"),
        (b"\xff\xfe1234567890", "this is not a component.*ff fe 31 32"),
    ],
)
def test_what_is_not_a_component_is_called_what_it_is(data: bytes, says: str) -> None:
    assert re.search(says, message(data), re.DOTALL)


def test_a_truncated_file_says_where_it_ends_and_in_what() -> None:
    wasm = assemble('(component (import "a" (func (param "x" (list string)))))')
    text = message(wasm[:15])
    assert "ends in the middle of its type section" in text
    assert "byte 0xf" in text
    assert "starts at byte 0x8" in text


def test_damage_in_a_nested_component_is_located() -> None:
    inner = HEADER + section(7, b"\x01\x99")
    text = message(HEADER + section(4, inner))
    assert "expected a type, found byte 0x99" in text
    assert "byte 0x15, type section of the component at byte 0xa" in text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (section(7, b"\x01\x70\x05"), "type index 5 is out of range"),
        (section(7, b"\x02\x70\x7d"), "it ends where a type was expected"),
        (section(7, b"\x7f"), "127 definitions cannot follow"),
        (section(7, b"\x01\x72\x02\x01a\x7d\x01a\x7d"), "the field 'a' is there twice"),
        (section(7, b"\x01\x6f\x00"), "a tuple has no element"),
        (section(7, b"\x01\x63\x76\x7d"), "the key of a map must be"),
        (section(7, b"\x01\x67\x7d\x00"), "fixed length 0"),
        (section(7, b"\x01\x70\x80\x80\x80\x80\x80\x80\x01"), "not a number of 33 bits"),
        (section(7, b"\x02\x40\x00\x01\x00\x70\x00"), "index of a value type, found a function type"),
        (section(7, b"\x01\x69\x00"), "the type index 0 is out of range"),
        (section(7, b"\x01\x6d\x01\x02\xff\xff"), "is not UTF-8"),
        (section(7, b"\x01\x6d\x01\x01\x1b"), "is not a name"),
        (section(7, b"\x01\x7d\x00"), "1 bytes are left over"),
        (section(10, b"\x01\x03\x01a\x01\x00"), "expected a name"),
        (section(10, b"\x01\x00\x01a\x09\x00"), "expected the type of an import or export"),
        (FUNC + section(10, b"\x02\x00\x01a\x01\x00\x00\x01a\x01\x00"), "imported twice"),
        (FUNC + section(10, b"\x01\x02\x01a\x01\x00\x05a:b/c\x01\x00"), "not an instance"),
        (section(6, b"\x01\x03\x02\x05\x00"), "looks 5 levels outward"),
        (section(5, b"\x01\x00\x00\x00"), "the component index 0 is out of range"),
        (section(8, b"\x01\x99"), "unknown canonical definition 0x99"),
        (section(1, b"nonsense"), "not a core module"),
        (section(4, b"nonsense"), "not a component"),
    ],
)  # fmt: skip
def test_malformed_input_says_what_was_expected_and_where(body: bytes, says: str) -> None:
    text = message(HEADER + body)
    assert says in text
    assert "at: byte 0x" in text


def test_unknown_sections_are_stepped_over_and_recorded() -> None:
    shape = read(HEADER + section(77, b"\x01\x02\x03") + assemble('(component (import "f" (func)))')[8:])
    (unknown,) = shape.unknown_sections
    assert (unknown.id, unknown.offset, unknown.size) == (77, 10, 3)
    assert [i.name for i in shape.imports] == ["f"]


# Small inputs that describe something enormous, or nest without end.


def doubling_types(levels: int) -> bytes:
    types = b"\x6f\x02\x73\x73" + b"".join(b"\x6f\x02" + leb(i) * 2 for i in range(min(levels, 60)))
    return HEADER + section(7, leb(levels + 1) + types)


def deep_lists(levels: int) -> bytes:
    types = b"\x70\x73" + b"".join(
        b"\x70" + (leb(i) if i < 64 else bytes([i & 0x7F | 0x80, i >> 7])) for i in range(levels)
    )
    return HEADER + section(7, leb(levels + 1) + types)


def nested_components(levels: int) -> bytes:
    wasm = HEADER
    for _ in range(levels):
        wasm = HEADER + section(4, wasm)
    return wasm


def nested_instance_types(levels: int) -> bytes:
    body = b"\x42\x00"
    for _ in range(levels):
        body = b"\x42\x01\x01" + body
    return HEADER + section(7, b"\x01" + body)


def doubling_instances(levels: int) -> bytes:
    """Return instance types that each export the one before twice, resources and all."""
    lines = ['(type $t0 (instance (export "r" (type (sub resource)))))']
    for i in range(levels):
        twice = "".join(f'(export "{name}" (instance (type $x)))' for name in "ab")
        lines.append(f"(type $t{i + 1} (instance (alias outer 1 $t{i} (type $x)) {twice}))")
    return bytes(assemble(f"(component {' '.join(lines)})"))


def many_instantiations(count: int) -> bytes:
    lines = [
        '(component $c (import "a" (instance '
        + "".join(f'(export "f{i}" (func))' for i in range(400))
        + ")))"
    ]
    lines.append('(import "a" (instance $a ' + "".join(f'(export "f{i}" (func))' for i in range(400)) + "))")
    lines += ['(instance (instantiate $c (with "a" (instance $a))))'] * count
    return bytes(assemble(f"(component {' '.join(lines)})"))


@pytest.mark.parametrize(
    "wasm",
    [
        pytest.param(doubling_types(50), id="doubling types"),
        pytest.param(deep_lists(3000), id="deep lists"),
        pytest.param(nested_components(500), id="nested components"),
        pytest.param(nested_instance_types(5000), id="nested instance types"),
        pytest.param(doubling_instances(40), id="doubling instances"),
        pytest.param(many_instantiations(20_000), id="many instantiations"),
        pytest.param(HEADER + section(7, leb(2_000_000) + b"\x7d" * 2_000_000), id="many types"),
        pytest.param(HEADER + section(7, b"\x01\x72\xff\xff\xff\xff\x0f"), id="a count beyond the end"),
    ],
)
def test_small_input_cannot_describe_something_enormous(wasm: bytes) -> None:
    started = time.process_time()
    message(wasm)
    # It takes well under a second; the limit only has to tell that from a hang.
    assert time.process_time() - started < 15


# Damage at random: nothing but ComponentError, and what is read can be printed.


def corpus() -> list[bytes]:
    built = [file.read_bytes() for file in sorted((GUESTS / "built").glob("*.wasm"))]
    kept = [gzip.decompress(file.read_bytes()) for file in sorted((GUESTS / "oracle").glob("wasmcloud*.gz"))]
    return [*built, *kept, assemble((GUESTS / "oracle" / "composed.wat").read_text())]


CORPUS = corpus()


def survives(wasm: bytes) -> None:
    try:
        shape = read(wasm)
    except ComponentError:
        return
    render(shape)
    as_dict(shape)
    relabel(wasm, {})


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CORPUS), st.randoms(use_true_random=False))
def test_flipped_bytes(wasm: bytes, rng: random.Random) -> None:
    damaged = bytearray(wasm)
    for _ in range(rng.choice((1, 1, 2, 8))):
        damaged[rng.randrange(8, len(damaged))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    survives(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CORPUS), st.floats(0, 1))
def test_truncated_anywhere(wasm: bytes, share: float) -> None:
    survives(wasm[: int(len(wasm) * share)])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CORPUS), st.randoms(use_true_random=False))
def test_pieces_moved_doubled_and_dropped(wasm: bytes, rng: random.Random) -> None:
    a, b = sorted(rng.randrange(8, len(wasm)) for _ in range(2))
    survives(rng.choice((wasm[:a] + wasm[b:], wasm[:b] + wasm[a:], wasm[:a] + wasm[b:] + wasm[a:b])))


@given(st.binary(max_size=64))
def test_anything_after_the_header(body: bytes) -> None:
    survives(HEADER + body)
