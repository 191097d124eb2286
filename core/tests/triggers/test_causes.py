"""What the log says of a failure."""

from __future__ import annotations

import pytest
from wasmplex.errors import FailureError
from wasmplex.triggers.causes import in_one_line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            FailureError("too slow", where="a call", why="1 s", fix="more"),
            "too slow; at: a call; because: 1 s; try: more",
        ),
        (ValueError("one.\n\n  two:\nthree  four\nfive\n"), "one. two: three four five"),
        (ValueError("one"), "one"),
        (ValueError(" \n"), "ValueError"),
    ],
    ids=["of the host", "foreign", "one line", "no text"],
)
def test_the_parts_of_an_error_are_joined_with_punctuation(error: Exception, text: str) -> None:
    assert in_one_line(error) == text
