from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.wit.names import FunctionName, InterfaceId, SemVer, compatible, is_label, track


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("wasi:keyvalue/store@0.2.0-draft", ("wasi", "keyvalue", "store", "0.2.0-draft")),
        ("wasi:http/types@0.2", ("wasi", "http", "types", "0.2")),
        ("my-org:my-pkg/is-XML", ("my-org", "my-pkg", "is-XML", None)),
        ("a:b:c/d/e@1.0.0+build.5", ("a:b", "c", "d/e", "1.0.0+build.5")),
    ],
)
def test_an_interface_id_is_taken_apart_and_put_together(text: str, parts: tuple[str, ...]) -> None:
    parsed = InterfaceId.parse(text)
    assert (parsed.namespace, parsed.package, parsed.interface, parsed.version) == parts
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    ["", "cache", "wasi:http", "wasi/http", "Wasi:http/types", "wasi:http/types@", "wasi:http/types@x",
     "wasi:http/types@1.02.0", "wasi:http/types@1.0-rc", "wasi:http/types@1.0.0-", "a:b/c ", "a:b/-c"],
)  # fmt: skip
def test_what_is_not_an_interface_id_is_refused(text: str) -> None:
    assert InterfaceId.try_parse(text) is None
    with pytest.raises(ValueError, match="is not a"):
        InterfaceId.parse(text)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.2.1", "0.2"), ("0.2.6", "0.2"), ("0.2", "0.2"), ("0.3.0", "0.3"), ("1.2.3", "1"), ("1", "1"),
     ("1.9.0+b", "1"), ("0.0.3", "0.0.3"), ("0.0.0", "0.0.0"), ("0.0.3+b", "0.0.3"),
     ("0.2.0-draft", "0.2.0-draft"), ("1.0.0-rc.1+b", "1.0.0-rc.1"), (None, "")],
)  # fmt: skip
def test_tracks(version: str | None, expected: str) -> None:
    assert track(version) == expected


@pytest.mark.parametrize(
    ("wanted", "served", "fits"),
    [("0.2.1", "0.2.12", True), ("0.2.12", "0.2.12", True), ("0.2.13", "0.2.12", False),
     ("0.2", "0.2.1", True), ("0.2.9", "0.2", True), ("0.3.0", "0.2.12", False), ("1.0.0", "1.4.0", True),
     ("1.4.0", "1.3.9", False), ("1", "1.3.9", True), ("0.0.1", "0.0.2", False), ("0.0.1", "0.0.1", True),
     ("0.2.0-draft", "0.2.0-draft", True), ("0.2.0-draft", "0.2.0", False), ("0.2.0", "0.2.0-draft", False),
     ("0.2.0-rc.1", "0.2.0-rc.2", False), ("1.0.0+a", "1.0.0+b", True),
     (None, None, True), (None, "0.2.0", False), ("0.2.0", None, False)],
)  # fmt: skip
def test_compatible(wanted: str | None, served: str | None, fits: bool) -> None:
    assert compatible(wanted, served) is fits


def test_precedence_is_that_of_semver() -> None:
    rising = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
              "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.10.0", "2.0.0"]  # fmt: skip
    parsed = [SemVer.parse(text) for text in rising]
    assert all(a < b for a, b in pairwise(parsed))
    assert [str(version) for version in parsed] == rising


numbers = st.integers(0, 30)
versions = st.builds(
    lambda a, b, c, pre: f"{a}.{b}.{c}{pre}",
    numbers, numbers, numbers, st.sampled_from(["", "", "", "-rc.1", "-draft", "+b1"]),
)  # fmt: skip


@given(versions, versions)
def test_compatible_needs_one_track_and_the_higher_serves(a: str, b: str) -> None:
    both = compatible(a, b) or compatible(b, a)
    assert both == (track(a) == track(b))
    assert compatible(a, track(a))
    assert track(track(a)) == track(a)


@given(versions)
def test_interface_ids_round_trip(version: str) -> None:
    name = InterfaceId("wasi", "io", "streams", version)
    assert InterfaceId.parse(str(name)) == name
    assert name.satisfied_by(name)
    assert not name.satisfied_by(InterfaceId("wasi", "io", "poll", version))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("get", FunctionName("function", None, "get")),
        ("[method]bucket.get", FunctionName("method", "bucket", "get")),
        ("[static]fields.from-list", FunctionName("static", "fields", "from-list")),
        ("[constructor]fields", FunctionName("constructor", "fields", "fields")),
        ("[async]run", FunctionName("function", None, "run", True)),
        ("[async method]bucket.get", FunctionName("method", "bucket", "get", True)),
        ("[async static]bucket.of", FunctionName("static", "bucket", "of", True)),
        ("[get]size", FunctionName("function", None, "size", accessor="get")),
        ("[method][set]bucket.size", FunctionName("method", "bucket", "size", accessor="set")),
        ("[static][get]bucket.count", FunctionName("static", "bucket", "count", accessor="get")),
        ("[constructor][get]bucket", FunctionName("function", None, "[constructor][get]bucket")),
        ("[method]bucket", FunctionName("function", None, "[method]bucket")),
        ("a.b", FunctionName("function", None, "a.b")),
        ("[new-thing]bucket.get", FunctionName("function", None, "[new-thing]bucket.get")),
    ],
)
def test_function_names(text: str, expected: FunctionName) -> None:
    assert FunctionName.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "good"),
    [("cache", True), ("a-B-c2", True), ("A1-2-3", True), ("1a", False), ("a_b", False), ("a--b", False),
     ("aB", False), ("", False), ("a:b/c", False)],
)  # fmt: skip
def test_labels(text: str, good: bool) -> None:
    assert is_label(text) is good
