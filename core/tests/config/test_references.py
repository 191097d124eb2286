"""References: resolved when asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wasmplex.config import EnvRef, FileRef, HostConfig, Location, Table, resolve
from wasmplex.errors import ConfigError


def table(**values: Any) -> Table:
    here = Location("host.toml", 3, "workload.shop.import.store")
    places: dict[tuple[str | int, ...], Location] = {
        (key,): Location("host.toml", n, f"{here.path}.{key}") for n, key in enumerate(values, 4)
    }
    return Table(values, here, places)


def refused(given: Table, base: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(given, base, environ or {})
    return caught.value.render()


def test_references_are_resolved_wherever_they_stand(home: Path) -> None:
    given = table(
        url=EnvRef("URL"), tls={"key": FileRef(Path("password.txt"))}, servers=["a", EnvRef("B")], db=1
    )
    assert resolve(given, home, {"URL": "redis://h", "B": ""}) == {
        "url": "redis://h",
        "tls": {"key": "hunter2"},
        "servers": ["a", ""],
        "db": 1,
    }


def test_references_in_a_file(load_text: Callable[..., HostConfig], home: Path) -> None:
    config = load_text(
        "[http]\nkey = { file = 'password.txt' }\nnames = [{ env = 'A' }]\nenv = { env = 'A', more = 1 }\n"
        "port = { env = 1 }\n"
    )
    http = config.triggers["http"]
    assert http.values == {
        "key": FileRef(Path("password.txt")),
        "names": [EnvRef("A")],
        "env": {"env": "A", "more": 1},
        "port": {"env": 1},
    }
    assert resolve(http, config.base, {"A": "a"})["names"] == ["a"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x\n", "x"), (b"x\r\n", "x"), (b"x\n\n", "x\n"), (b"x", "x"), (b"", ""), (b"\n", ""),
        (b"x\r", "x\r"), ("é\n".encode(), "é"),
    ],
)  # fmt: skip
def test_the_last_newline_of_a_file_is_not_part_of_it(home: Path, data: bytes, text: str) -> None:
    (home / "secret").write_bytes(data)
    assert resolve(table(key=FileRef(Path("secret"))), home, {}) == {"key": text}


def test_all_that_cannot_be_resolved_is_reported(home: Path) -> None:
    (home / "latin").write_bytes(b"caf\xe9")
    (home / "large").write_bytes(b"x" * (2**20 + 1))
    given = table(
        url=EnvRef("REDIS_URL"), key=FileRef(Path("nope")), dir=FileRef(Path("data")),
        latin=FileRef(Path("latin")), large=FileRef(Path("large")), nul=FileRef(Path("a\0b")),
    )  # fmt: skip
    assert refused(given, home) == (
        "error: the environment variable REDIS_URL is not set\n"
        "  at: host.toml:4 (workload.shop.import.store.url)\n"
        "  try: export REDIS_URL=...\n"
        'error: the file "nope" cannot be read\n'
        "  at: host.toml:5 (workload.shop.import.store.key)\n"
        "  because: no such file or directory\n"
        f"  try: check {home / 'nope'}\n"
        'error: the file "data" cannot be read\n'
        "  at: host.toml:6 (workload.shop.import.store.dir)\n"
        "  because: is a directory\n"
        f"  try: check {home / 'data'}\n"
        'error: the file "latin" cannot be read\n'
        "  at: host.toml:7 (workload.shop.import.store.latin)\n"
        "  because: it is not UTF-8 text\n"
        'error: the file "large" cannot be read\n'
        "  at: host.toml:8 (workload.shop.import.store.large)\n"
        "  because: it is larger than 1048576 bytes\n"
        'error: the file "a\\u0000b" cannot be read\n'
        "  at: host.toml:9 (workload.shop.import.store.nul)\n"
        "  because: its path holds a NUL character"
    )


def test_sub_tables_keep_their_places() -> None:
    whole = Table(
        {"tls": {"file": "x", "more": {"a": 1}}},
        Location("f", 1, "t"),
        {("tls",): Location("f", 2, "t.tls"), ("tls", "more", "a"): Location("f", 3, "t.tls.more.a")},
    )
    more = whole.sub("tls", "more")
    assert (more.values, more.where("a").line, more.location.line) == ({"a": 1}, 3, 2)
    assert whole.sub("nothing", "here").values == {}


def test_a_pipe_is_not_waited_for(home: Path) -> None:
    os.mkfifo(home / "pipe")
    said = refused(table(password=FileRef(Path("pipe"))), home)
    assert 'the file "pipe" cannot be read' in said
    assert "not a file that can be read again" in said
