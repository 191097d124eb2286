"""The code fences of the documentation, and what their info strings say about them; see CONTRIBUTING.md."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

__all__ = ["PAGES", "ROOT", "Fence", "fences", "parameters", "text_without_fences"]

ROOT = Path(__file__).resolve().parents[1]
_PATTERNS = (
    "*.md", "docs/*.md", "docs/internals/*.md", "examples/*/*.md", "core/*.md", "plugins/*/*.md",
    "plugin-template/*.md", "plugin-template/variants/*/*.md",
)  # fmt: skip
PAGES = [page for pattern in _PATTERNS for page in sorted(ROOT.glob(pattern))]
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """One fence.

    :ivar number: its number on the page, from 0 on
    :ivar language: the first word of the info string
    :ivar words: the words behind it that have no value, ``run``
    :ivar values: those that have one, ``file=host.toml``, ``skip="needs npm"``
    """

    page: Path
    number: int
    language: str
    words: tuple[str, ...]
    values: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}"


def fences(page: Path, language: str = "") -> Iterator[Fence]:
    """Return the fences of a page in order, of one language if it is given."""
    for number, match in enumerate(_FENCE.finditer(page.read_text())):
        name, *rest = shlex.split(match["info"]) or [""]
        words = tuple(word for word in rest if "=" not in word)
        values = dict(word.split("=", 1) for word in rest if "=" in word)
        if language in ("", name):
            yield Fence(page, number, name, words, values, match["text"])


def parameters(language: str = "") -> list[Any]:
    """Return the fences of all pages as parameters of a test."""
    return [pytest.param(fence, id=str(fence)) for page in PAGES for fence in fences(page, language)]


def text_without_fences(page: Path) -> str:
    """Return what stands around the fences."""
    return _FENCE.sub("", page.read_text())
