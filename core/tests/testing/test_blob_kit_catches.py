"""The blob-store kit notices what is wrong."""

from __future__ import annotations

import pytest
from wasmplex.testing import BlobStoreConformance
from wasmplex.testing.loops import everything

from .running import failed, outcomes_of
from .wrong_blobs import DEFECTS, class_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),  # the first one runs a pytest of its own
    pytest.mark.skipif(not everything(), reason="runs the kit fifty times: make test-all does"),
]

MODEL = "test_the_store_agrees_with_a_model"
FOUND_BY_MODEL = ["closing-commits", "objects-survive", "move-loses", "tombstones"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Run the kit on the small backend and its wrong versions."""
    wanted = ["TestNone", "TestSmallest", *(f"{class_of(defect)}::{MODEL}" for defect in FOUND_BY_MODEL)]
    wanted += [f"{class_of(defect)}::{test}" for defect, tests in DEFECTS.items() for test in tests]
    return outcomes_of("wrong_blobs.py", wanted, tmp_path_factory.mktemp("kit"))


@pytest.mark.parametrize("name", ["TestNone", "TestSmallest"])
def test_what_is_right_passes(outcomes: dict[str, dict[str, str]], name: str) -> None:
    assert len(outcomes[name]) > 40
    assert failed(outcomes[name]) == set()


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_a_defect_is_noticed_by_the_test_for_its_line(
    outcomes: dict[str, dict[str, str]], defect: str
) -> None:
    assert DEFECTS[defect] <= failed(outcomes[class_of(defect)])


@pytest.mark.parametrize("defect", FOUND_BY_MODEL)
def test_the_model_notices_by_itself(outcomes: dict[str, dict[str, str]], defect: str) -> None:
    assert MODEL in failed(outcomes[class_of(defect)])


def test_every_test_of_the_kit_says_what_it_proves() -> None:
    tests = [name for name in dir(BlobStoreConformance) if name.startswith("test_")]
    assert len(tests) > 40
    assert [name for name in tests if not getattr(BlobStoreConformance, name).__doc__] == []
