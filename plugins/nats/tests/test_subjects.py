"""Names become subjects that NATS takes, and come back."""

from __future__ import annotations

import re

from host_plugin_nats.subjects import Subjects, decode, encode
from hypothesis import given
from hypothesis import strategies as st

texts = st.text(st.characters(codec="utf-8"), max_size=40)
TOKEN = re.compile(r"[A-Za-z0-9_/=-]+")


@given(texts)
def test_a_token_is_one_that_nats_takes_and_comes_back(text: str) -> None:
    token = encode(text)
    assert TOKEN.fullmatch(token)
    assert decode(token) == text


@given(texts, texts)
def test_no_two_texts_share_a_token(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) is (one == other)


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_no_two_keys_share_a_subject(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    subjects = [Subjects("$KV.b.", a, b).of(c) for a, b, c in (one, other)]
    assert (subjects[0] == subjects[1]) is (one == other)


@given(st.sampled_from(["a", "é", "😀", " ", "\0"]), st.sampled_from([1, 300, 1024]))
def test_the_longest_names_fit_into_a_command(char: str, size: int) -> None:
    name = char * (size // len(char.encode()))
    subject = Subjects("$KV.wasmplex.", name, name).of(name)
    assert len(f"PUB $JS.API.DIRECT.GET.KV_wasmplex.{subject} _INBOX.{'x' * 40} 0") < 4096


@given(texts, texts, texts)
def test_a_key_comes_back(namespace: str, bucket: str, key: str) -> None:
    subjects = Subjects("$KV.b.", namespace, bucket)
    assert subjects.key(subjects.of(key)) == key
    assert subjects.key("$KV.other.a.b.c") is None


def test_places_that_are_a_digest_are_no_others() -> None:
    long = Subjects("", "n" * 300, "b").stem
    assert long != Subjects("", "", long.split(".")[1]).stem
    assert long != Subjects("", "n" * 300, "c").stem
