"""The guests that other tests stand on: they are components, and the committed ones are of their sources."""

import subprocess
import sys
from pathlib import Path

import guests
import pytest
import wasmtime
from wasmtime.component import Component


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_component_model_implements = True
    return wasmtime.Engine(config)


@pytest.mark.parametrize("name", guests.names())
def test_every_guest_is_a_valid_component(name: str, engine: wasmtime.Engine) -> None:
    Component(engine, guests.component(name))


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
