"""URLs and key names: what is accepted, what it becomes, and that nothing collides."""

from __future__ import annotations

import fnmatch

import pytest
from host_plugin_redis.layout import Places
from host_plugin_redis.urls import Target, parse
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

special = st.text(alphabet="ab*?[]\\^{}%", max_size=6)
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://h", Target("single", (("h", 6379),))),
        ("redis://h:1/2", Target("single", (("h", 1),), db=2)),
        ("rediss://u:p%40@[::1]:1", Target("single", (("::1", 1),), tls=True, username="u", password="p@")),
        ("redis://:p@h", Target("single", (("h", 6379),), password="p")),
        ("unix:///run/r.sock?db=4", Target("single", socket="/run/r.sock", db=4)),
        ("redis+sentinel://a,b:2/main/1", Target("sentinel", (("a", 26379), ("b", 2)), service="main", db=1)),
        ("redis+cluster://a,b", Target("cluster", (("a", 6379), ("b", 6379)))),
    ],
)
def test_urls(url: str, target: Target) -> None:
    assert parse(url) == target
    assert "p@" not in str(target)
    assert "p@" not in repr(target)


@pytest.mark.parametrize(
    "url",
    ["", "h", "http://h", "redis://", "redis://:secret@", "redis://:secret@h:x", "redis://:secret@h/x",
     "redis://:secret@a,b", "redis+cluster://:secret@h/1", "unix://", "redis://:secret@h:99999"],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(url)
    assert "secret" not in str(caught.value)


@given(texts, texts, texts)
def test_a_key_comes_back(namespace: str, bucket: str, key: str) -> None:
    places = Places(namespace, bucket, plain=False)
    assert places.key(places.value(key)) == key


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_no_two_keys_share_a_place(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    places = [set(Places(a, b, plain=False).both(c)) for a, b, c in (one, other)]
    assert one == other or not places[0] & places[1]


@given(texts, texts, texts)
def test_a_value_and_its_version_are_in_one_slot(namespace: str, bucket: str, key: str) -> None:
    value, version = Places(namespace, bucket, plain=False).both(key)
    assert key_slot(value) == key_slot(version)


@given(
    texts, texts, st.text(alphabet="ab*?[]\\^{}%", max_size=6), st.text(alphabet="ab*?[]\\^{}%", max_size=6)
)
def test_a_pattern_matches_a_prefix_alone(namespace: str, bucket: str, prefix: str, key: str) -> None:
    places = Places(namespace, bucket, plain=False)
    pattern = places.pattern(prefix).decode("latin-1")
    # Python's patterns have no escapes; what is escaped is put in brackets, but "^" that is special there.
    parts = iter(pattern)
    translated = "".join(
        (char if (char := next(parts)) in "\\^]" else f"[{char}]") if one == "\\" else one for one in parts
    )
    found = fnmatch.fnmatchcase(places.value(key).decode("latin-1"), translated)
    assert found is key.startswith(prefix)


def test_an_address_without_a_scheme_is_told_how_it_is_written() -> None:
    with pytest.raises(ValueError, match=r'write it like "redis://127\.0\.0\.1:6379"'):
        parse("127.0.0.1:6379")
