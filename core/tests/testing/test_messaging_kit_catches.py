"""The messaging kit notices what is wrong."""

from __future__ import annotations

import pytest
from wasmplex.testing import MessagingConformance
from wasmplex.testing.loops import everything

from .running import failed, outcomes_of
from .wrong_brokers import DEFECTS, class_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),  # the first one runs a pytest of its own
    pytest.mark.skipif(not everything(), reason="waits for minutes for what never comes: make test-all"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    wanted = ["TestNone", *(f"{class_of(d)}::{test}" for d, tests in DEFECTS.items() for test in tests)]
    return outcomes_of("wrong_brokers.py", wanted, tmp_path_factory.mktemp("kit"))


def test_what_is_right_passes(outcomes: dict[str, dict[str, str]]) -> None:
    assert len(outcomes["TestNone"]) > 30
    assert failed(outcomes["TestNone"]) == set()


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_a_defect_is_noticed_by_the_test_for_its_line(
    outcomes: dict[str, dict[str, str]], defect: str
) -> None:
    assert failed(outcomes[class_of(defect)]) >= DEFECTS[defect]


def test_every_test_of_the_kit_says_what_it_proves() -> None:
    tests = [name for name in dir(MessagingConformance) if name.startswith("test_")]
    assert [name for name in tests if not getattr(MessagingConformance, name).__doc__] == []
