"""The guests that other tests stand on: they are components, and the committed ones are of their sources."""

import subprocess
import sys
from pathlib import Path

import guests
import pytest
import wasmtime
from guests import toolchain
from wasmtime.component import Component


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_component_model_implements = True
    return wasmtime.Engine(config)


@pytest.mark.parametrize("name", guests.names())
def test_every_guest_is_a_valid_component(name: str, engine: wasmtime.Engine) -> None:
    Component(engine, guests.component(name))


@pytest.mark.timeout(300)  # the first run compiles them
@pytest.mark.parametrize("name", toolchain.GUESTS)
def test_every_toolchain_guest_imports_what_its_source_does(name: str) -> None:
    wasm = guests.compiled(name).read_bytes()
    assert wasm[:8] == b"\0asm\x0d\0\1\0"
    assert (b"labels:kv/cache@0.1.0" in wasm) == (toolchain.GUESTS[name].world == "kv")
    assert b"xasi:" not in wasm


def test_a_guest_as_a_file_has_the_same_bytes() -> None:
    for name in guests.names():
        assert guests.path(name).read_bytes() == guests.component(name)


def test_committed_guests_are_those_of_their_sources() -> None:
    script = Path(guests.__file__).with_name("build.py")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_unknown_guest_is_named_with_those_there_are() -> None:
    with pytest.raises(LookupError, match=r"'nope'; there are .*hello"):
        guests.component("nope")
