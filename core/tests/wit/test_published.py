"""The WIT packages in ``wit/`` have the signatures of the published ones, whatever their comments say.

``published/<namespace>-<package>.wit`` holds the declarations of the published package, normalised.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PUBLISHED = Path(__file__).parent / "published"
OURS = Path(__file__).parents[3] / "wit"


def normalised(wit: str) -> list[str]:
    """Return the tokens without comments, and without commas before a closing bracket."""
    tokens = re.findall(r"->|[\w-]+(?:\.[\w-]+)*|\S", re.sub(r"//.*", "", wit))
    following = [*tokens[1:], ""]
    return [token for token, after in zip(tokens, following, strict=True) if (token, after) not in _CLOSING]


_CLOSING = {(",", bracket) for bracket in ")}>"}


@pytest.mark.parametrize("name", sorted(path.stem for path in PUBLISHED.glob("*.wit")))
def test_signatures_are_those_of_the_published_package(name: str) -> None:
    namespace, _, package = name.partition("-")
    ours = (OURS / namespace / f"{package}.wit").read_text(encoding="utf-8")
    assert normalised(ours) == (PUBLISHED / f"{name}.wit").read_text(encoding="utf-8").split()


def test_what_differs_is_noticed() -> None:
    base = "interface i { f: func(a: u32,) -> list<u8>; } // c"
    assert normalised(base) == normalised("interface i {\n  /// f\n  f: func(a: u32) -> list<u8>;\n}")
    for other in (base.replace("u32", "u64"), base.replace("func", "async func"), base.replace("a:", "b:")):
        assert normalised(other) != normalised(base)
