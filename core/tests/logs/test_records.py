"""Records of the host are safe and say whose they are, whoever handles them; its formatters make all so."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.errors import UsageError
from wasmplex.escaping import Escaped, escape
from wasmplex.logs import JsonFormatter, Origin, TextFormatter, get_logger

FORGED = "x\n2026-01-01 00:00:00,000 ERROR root: forged\r\x1b[2J\x85\u2028\u202e\udcff"
HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR name: ")

Logged = Callable[..., str]


class Asked(Origin):
    __slots__ = ()
    named = ("id-1", "", "a b\n", "shop")


def printed(formatter: logging.Formatter, logger: logging.Logger, *args: Any, **options: Any) -> str:
    """Return what a handler with this formatter prints for a record of this logger."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        logger.error(*args, **options)
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    return stream.getvalue()


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    logger = get_logger("name")
    yield logger
    logger.filters.clear()


class Unprintable:
    def __str__(self) -> str:
        return FORGED

    def __repr__(self) -> str:
        return f"<{FORGED}>"


@pytest.mark.parametrize(
    "value", [FORGED, Unprintable(), ValueError(FORGED), [FORGED], FORGED.encode("utf-8", "replace")]
)
@pytest.mark.parametrize("template", ["got %s", "got %r", "got %-200s", "%(key)s"])
def test_an_application_that_embeds_the_host_gets_one_line(
    ours: logging.Logger, value: Any, template: str
) -> None:
    args = {"key": value} if "key" in template else value
    text = printed(logging.Formatter("%(levelname)s %(message)s"), ours, template, args)
    assert len(text.splitlines()) == 1
    assert text.startswith("ERROR ")
    assert "\x1b" not in text
    text.encode()


def test_what_is_harmless_keeps_its_type_and_text(ours: logging.Logger) -> None:
    text = printed(logging.Formatter(), ours, "%d %.1f %s %s %r", 5, 1.25, None, Escaped("a\tb"), "c d")
    assert text == "5 1.2 None a\tb 'c d'\n"
    assert get_logger("name").filters == ours.filters, "prepared once"


def test_a_traceback_forges_nothing(ours: logging.Logger) -> None:
    try:
        raise ValueError(FORGED)  # noqa: TRY301
    except ValueError:
        plain = printed(logging.Formatter("%(levelname)s %(message)s"), ours, "failed", exc_info=True)
        text = printed(TextFormatter(), logging.getLogger("name"), "failed", exc_info=True)
        line = json.loads(printed(JsonFormatter(), logging.getLogger("name"), "failed", exc_info=True))
    assert all(line.startswith("| ") for line in plain.splitlines()[1:])
    assert "| 2026-01-01 00:00:00,000 ERROR root: forged" in plain
    lines = text.splitlines()
    assert len(lines) > 4
    assert all(HEAD.match(line) for line in lines)
    assert all(HEAD.sub("", line, count=1).startswith("| ") for line in lines[1:])
    assert line["exception"].startswith("Traceback (most recent call last):\n  File ")
    assert "\x1b" not in plain + text + line["exception"]


@given(st.text(st.characters(codec=None)), st.booleans(), st.booleans())
def test_every_line_of_a_record_of_anybody_begins_like_one(text: str, as_argument: bool, own: bool) -> None:
    logger = get_logger("name") if own else logging.getLogger("name")
    args = ("%s", text) if as_argument else (text.replace("%", ""),)
    try:
        lines = printed(TextFormatter(), logger, *args)
    finally:
        logger.filters.clear()
    lines.encode()
    assert lines.endswith("\n")
    assert lines[:-1].splitlines() == lines[:-1].split("\n")
    first, *more = lines[:-1].split("\n")
    assert all(HEAD.match(line) for line in (first, *more))
    assert not (as_argument and more)
    assert all(HEAD.sub("", line, count=1).startswith("| ") for line in more)


def test_our_own_errors_keep_their_lines(ours: logging.Logger) -> None:
    error = UsageError("no", why="because\nof that", fix="this")
    text = printed(TextFormatter(times=False), ours, "%s failed: %s", "it", error)
    assert text == (
        "ERROR name: it failed: no\nERROR name: |   because: because of that\nERROR name: |   try: this\n"
    )


def test_whose_a_record_is(ours: logging.Logger) -> None:
    with Asked("shop") as asked:
        text = printed(TextFormatter(who="worker 2", times=False), ours, "%s", "a")
        foreign = printed(TextFormatter(times=False), logging.getLogger("other"), "a\nb")
        line = json.loads(printed(JsonFormatter(worker=2), ours, "%s", "é\n", extra={"label": "c", "n": 1.5}))
        embedded = printed(logging.Formatter("[%(request_id)s %(workload)s] %(message)s"), ours, "a")
    assert text == "ERROR worker 2: name request=id-1 host=a\\x20b\\n workload=shop: a\n"
    assert foreign.splitlines()[1] == "ERROR other request=id-1 host=a\\x20b\\n workload=shop: | b"
    assert embedded == "[id-1 shop] a\n"
    time = line.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert line == {
        "level": "ERROR", "logger": "name", "message": "é\\n", "worker": 2, "request_id": "id-1",
        "host": "a b\\n", "workload": "shop", "label": "c", "n": 1.5,
    }  # fmt: skip
    assert asked.over
    assert printed(TextFormatter(times=False), ours, "a") == "ERROR name: a\n"
    assert json.loads(printed(JsonFormatter(), ours, "a")).keys() == {"time", "level", "logger", "message"}


def test_a_task_that_outlives_its_request_logs_for_nobody(ours: logging.Logger) -> None:
    async def main() -> list[str]:
        over = asyncio.Event()
        texts = []

        async def background() -> None:
            texts.append(printed(TextFormatter(times=False), ours, "during"))
            await over.wait()
            texts.append(printed(TextFormatter(times=False), ours, "after"))

        with Asked("shop"):
            task = asyncio.create_task(background())
            await asyncio.sleep(0)
        over.set()
        await task
        return texts

    assert asyncio.run(main()) == [
        "ERROR name request=id-1 host=a\\x20b\\n workload=shop: during\n", "ERROR name: after\n"
    ]  # fmt: skip


def test_a_line_has_a_longest_length(ours: logging.Logger) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        text = printed(formatter, ours, "%s", "x" * 100_000)
        assert len(text) < 20_000
        assert "characters cut]" in text


def test_json_lines_are_safe_to_print(ours: logging.Logger) -> None:
    text = printed(
        JsonFormatter(), ours, "%s", "a", extra={"key": FORGED, "nan": float("nan"), "path": Unprintable()}
    )
    assert len(text.splitlines()) == 1
    assert escape(text[:-1]) == text[:-1]
    line = json.loads(text)
    assert (line["key"], line["nan"]) == (FORGED, "nan")
