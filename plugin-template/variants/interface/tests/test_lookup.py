from pathlib import Path

import pytest
import wasmtime
from wasmplex.testing import HostFactory, WasmHost
from wasmplex.values import Err


@pytest.fixture
def guest(wasm_host: HostFactory, tmp_path: Path) -> WasmHost:
    """A component that imports the interface under two labels."""
    component = tmp_path / "find.wasm"
    component.write_bytes(wasmtime.wat2wasm(Path(__file__).with_name("find.wat").read_text()))
    return wasm_host(component, coarse={"digits": 0}, fine={})


def test_each_label_has_settings_of_its_own(guest: WasmHost) -> None:
    assert guest.call("coarse", "Lagos") == {"latitude": 6.0, "longitude": 3.0}
    assert guest.call("fine", "Lagos") == {"latitude": 6.5, "longitude": 3.4}


def test_what_is_not_known(guest: WasmHost) -> None:
    assert guest.call("fine", "Atlantis") is None


def test_an_error_is_the_guests_to_handle(guest: WasmHost) -> None:
    with pytest.raises(Err, match="a place has a name"):
        guest.call("fine", "")
