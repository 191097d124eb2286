"""Names that stores trip over, for kits to try on buckets, keys, containers and objects."""

from __future__ import annotations

__all__ = ["ODD_NAMES", "PLACES", "TOO_LONG"]

ODD_NAMES = (
    "", " ", ".", "..", "../x", "/etc/passwd", "a/b", "a//b", "a\\b", "C:x", "*", ">", "a.*.>", "?", "[a-z]",
    "{a}", "a:b", "a::b", "%2e", "%00", "\0", "a\0b", "\t\r\n", "'", '"', "; --", "NUL", "-", "_", "=", "~",
    "A", "a", "é", "e\u0301", "ﬀ", "\u202ex", "\ud7ff", "\ue000", "\uffff", "😀", "\U0010ffff",
    ".hidden", "...", "a/../b", "a/", "/", "//", "./a", "~root", "a.", "a ", "CON", "con.txt", "LPT1",
    "-rf", "$HOME", "`id`", "${x}", "a\u2028b", "\ufeff", "A" * 3, "_tmp", ".tmp", "%", "%2F", "=20",
    "n" * 255, "n" * 256, "k" * 1024, "😀" * 255, "😀" * 256,
)  # fmt: skip
"""Names that some store's own grammar forbids, truncates or gives a meaning."""

PLACES = (
    ("a", "b/c"), ("a/b", "c"), ("a", "b:c"), ("a:b", "c"), ("a", "b.c"), ("a.b", "c"),
    ("a", "b\0c"), ("a\0b", "c"), ("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("a_", "bc"),
)  # fmt: skip
"""Namespaces and names that are one string when they are glued together."""

TOO_LONG = ("k" * 1025, "é" * 513, "😀" * 257)
"""Names of more than 1 KiB."""
