"""Any name is a path component that no file system or server takes for something else, and comes back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.capabilities.naming import components, decode, encode, joined

names = st.text(st.characters(codec="utf-8"), max_size=400) | st.text(
    st.sampled_from("./%=+\0aé😀"), max_size=1024
)
TEXT = re.compile(r"[A-Za-z0-9._%+=-]+")


@given(names)
def test_a_name_comes_back(name: str) -> None:
    assert decode(encode(name)) == name
    assert joined(components(name)) == name
    assert joined(components(name, 40), 40) == name


@given(names, names)
def test_no_two_names_share_a_text(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) is (one == other)
    assert (components(one, 40) == components(other, 40)) is (one == other)


@given(names)
def test_a_component_is_short_and_plain(name: str) -> None:
    for part in components(name):
        assert TEXT.fullmatch(part)
        assert len(part) <= 240
        assert not part.startswith(".")
        assert not part.endswith(".")


@given(names, names)
def test_no_component_on_the_way_is_the_last_of_another(one: str, other: str) -> None:
    ways = {part for name in (one, other) for part in components(name, 40)[:-1]}
    assert not ways & {components(name, 40)[-1] for name in (one, other)}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "...", "a.", ".a", "a/b", "%", "%41", "%%", "CON", "a\0", "\x7f"]
)
def test_a_name_that_means_something_elsewhere(name: str) -> None:
    assert "/" not in encode(name)
    assert encode(name) not in ("", ".", "..")
    assert decode(encode(name)) == name


@pytest.mark.parametrize("name", ["photo-1.jpg", "A_b.c", "0"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert encode(name) == name


@pytest.mark.parametrize("char", ["a", "é", "😀", "/", "\0", "."])
def test_the_longest_names_are_not_much_longer(char: str) -> None:
    assert len(encode(char * (1024 // len(char.encode())))) <= 1368


@pytest.mark.parametrize(
    "text", ["", "a/b", "%4", "%zz", "%41", "é", "%%", "%%YQ", "%FF", ".a", "a.", "%%!", "%%A"]
)
def test_what_no_name_becomes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        decode(text)


@pytest.mark.parametrize("parts", [["a%+", "b%="], ["a%+"], ["a", "b"], ["%="]])
def test_components_of_no_name_are_refused(parts: list[str]) -> None:
    with pytest.raises(ValueError, match="name"):
        joined(parts)
