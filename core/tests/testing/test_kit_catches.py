"""The key-value kit notices what is wrong, and cannot be made to look away."""

from __future__ import annotations

import re

import pytest
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.loops import everything

from .running import failed, outcomes_of
from .wrong_backends import DEFECTS, SmallProvider, class_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),  # the first one runs a pytest of its own
    pytest.mark.skipif(not everything(), reason="runs the kit fifty times: make test-all does"),
]

MODEL = "test_the_store_agrees_with_a_model"
REAL_TIME = ["test_expiry", "test_set_clears_expiry", "test_if_not_exists_after_expiry", MODEL]
FOUND_BY_MODEL = ["expiry-stays", "picky-delete", "packed-counter", "lost-updates", "swap-creates"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Run the kit on the small backend and its wrong versions: class, test, ``passed`` or else."""
    wanted = ["TestNone", "TestSmallest", *(f"TestRealTime::{test}" for test in REAL_TIME)]
    wanted += [*(f"{class_of(defect)}::{MODEL}" for defect in FOUND_BY_MODEL)]
    wanted += [f"{class_of(defect)}::{test}" for defect, tests in DEFECTS.items() for test in tests]
    return outcomes_of("wrong_backends.py", wanted, tmp_path_factory.mktemp("kit"))


@pytest.mark.parametrize("name", ["TestNone", "TestSmallest"])
def test_what_is_right_passes(outcomes: dict[str, dict[str, str]], name: str) -> None:
    assert len(outcomes[name]) > 50
    assert failed(outcomes[name]) == set()


def test_expiry_is_tested_in_real_time_where_the_clock_cannot_be_turned(
    outcomes: dict[str, dict[str, str]],
) -> None:
    assert outcomes["TestRealTime"] == dict.fromkeys(REAL_TIME, "passed")


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_a_defect_is_noticed_by_the_test_for_its_line(
    outcomes: dict[str, dict[str, str]], defect: str
) -> None:
    assert DEFECTS[defect] <= failed(outcomes[class_of(defect)])


@pytest.mark.parametrize("defect", FOUND_BY_MODEL)
def test_the_model_notices_by_itself(outcomes: dict[str, dict[str, str]], defect: str) -> None:
    assert MODEL in failed(outcomes[class_of(defect)])


def test_what_is_not_declared_is_skipped(outcomes: dict[str, dict[str, str]]) -> None:
    skipped = [name for name, outcome in outcomes["TestSmallest"].items() if outcome == "skipped"]
    assert "test_counting" in skipped
    assert "test_expiry" in skipped
    assert outcomes["TestSmallest"]["test_what_is_not_declared_is_refused"] == "passed"


# ---------------------------------------------------------------- looking away


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"test_deleting": lambda self: None}, 'expected_failures = {"test_deleting": "why"}'),
        ({"test_deleting": None}, "test_deleting replaces a part of the conformance kit"),
        ({"__test__": False}, "__test__ replaces"),
        ({"expected_failures": {"test_deleting": " "}}, "test_deleting needs a reason"),
        ({"expected_failures": {"test_deletin": "slow"}}, "did you mean 'test_deleting'?"),
    ],
)
def test_a_subclass_cannot_drop_a_test(members: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        type("TestMine", (KeyValueConformance,), {"provider": SmallProvider(), **members})


def test_deleting_from_the_kit_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(KeyValueConformance):
        provider = SmallProvider()

    Mine().test_the_kit_is_whole()
    owner = next(cls for cls in Mine.__mro__ if "test_deleting" in vars(cls))
    monkeypatch.delattr(owner, "test_deleting")
    with pytest.raises(AssertionError, match="test_deleting"):
        Mine().test_the_kit_is_whole()


def test_every_test_of_the_kit_says_what_it_proves() -> None:
    tests = [name for name in dir(KeyValueConformance) if name.startswith("test_")]
    assert len(tests) > 50
    assert [name for name in tests if not getattr(KeyValueConformance, name).__doc__] == []
