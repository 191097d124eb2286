"""The guests that come with the kit are those that are built from the sources in this repository."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

BUILT = Path(__file__).parents[3] / "tests" / "guests" / "built"


@pytest.mark.parametrize(("kind", "guest"), [("messaging", "courier"), ("messaging-old", "courier-old")])
def test_guests_of_the_messaging_kit_are_the_built_ones(kind: str, guest: str) -> None:
    bundled = files("wasmplex.testing") / "guests" / f"{kind}.wasm"
    assert bundled.read_bytes() == (BUILT / f"{guest}.wasm").read_bytes()


@pytest.mark.parametrize("suffix", ["", "-draft"])
def test_guests_of_the_postgres_kit_are_the_built_ones(suffix: str) -> None:
    bundled = files("wasmplex.testing") / "guests" / f"postgres{suffix}.wasm"
    assert bundled.read_bytes() == (BUILT / f"pgforward{suffix}.wasm").read_bytes()


@pytest.mark.parametrize("suffix", ["", "-labelled"])
@pytest.mark.parametrize(
    ("kind", "guest"),
    [
        ("blobstore", "wasiblobs"),
        ("blobstore-async", "blobs"),
        ("keyvalue", "kvforward"),
        ("keyvalue-async", "kvaforward"),
    ],
)
def test_guests_of_the_kit_are_the_built_ones(kind: str, guest: str, suffix: str) -> None:
    bundled = files("wasmplex.testing") / "guests" / f"{kind}{suffix}.wasm"
    assert bundled.read_bytes() == (BUILT / f"{guest}{suffix}.wasm").read_bytes()
