"""Which plugins are installed without what they require."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from typing import Any

import pytest
from wasmplex.plugins.requirements import Unmet, unmet

Find = Callable[[str], Distribution]


@pytest.fixture
def find(site: Any) -> Find:
    def found(name: str) -> Distribution:
        for distribution in distributions(name=name, path=[str(site.root)]):
            return distribution
        raise PackageNotFoundError(name)

    return found


def test_both_distributions_and_both_versions_are_named(site: Any, find: Find) -> None:
    site.distribution("host-plugin-old", "", version="1.0", requires=("client<6",))
    site.distribution("host-plugin-new", "", version="2.0", requires=("client>=6", "absent>=1"))
    site.distribution("client", "", version="7.1")
    assert unmet(["host-plugin-old", "host-plugin-new"], find) == [
        Unmet("host-plugin-new", "host-plugin-new==2.0", "absent>=1"),
        Unmet("host-plugin-old", "host-plugin-old==1.0", "client<6", "7.1"),
    ]


def test_requirements_of_requirements_count_and_circles_end(site: Any, find: Find) -> None:
    site.distribution("host-plugin-a", "", version="1.0", requires=("client",))
    site.distribution("client", "", version="7.1", requires=("wire[fast]>=2",))
    wire = ("client", 'speedups>=3; extra == "fast"', 'never; extra == "slow"')
    site.distribution("wire", "", version="2.0", requires=wire)
    assert unmet(["host-plugin-a"], find) == [Unmet("host-plugin-a", "wire==2.0", "speedups>=3")]


def test_other_systems_and_what_is_malformed_are_left_out(site: Any, find: Find) -> None:
    requires = ('absent; sys_platform == "nowhere"', "== what", "client")
    site.distribution("host-plugin-a", "", version="1.0", requires=requires)
    site.distribution("client", "", version="7.1rc1")
    assert unmet(["host-plugin-a", "host-plugin-gone"], find) == []


def test_this_environment_is_sound() -> None:
    assert unmet(["wasmplex", "host-plugin-redis", "host-plugin-nats"]) == []
