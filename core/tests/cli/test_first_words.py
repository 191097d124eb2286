"""What somebody types who has just installed it, and the slips that everybody makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.mark.parametrize("args", [[], ["new"]])
def test_a_command_that_needs_another_shows_its_help(cli: Cli, args: list[str]) -> None:
    ended = cli(*args)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: wasmplex")
    assert "\\n" not in ended.err
    assert "\nCommands:\n" in ended.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "--workers"], "error: --workers needs a value\n  try: wasmplex run --help\n"),
        (["run", "--workers", "x"], "error: --workers 'x' is not a whole number, 1 or more\n"),
        (["run", "--workers", "0"], "error: --workers '0' is not a whole number, 1 or more\n"),
        (
            ["run", "--log-level", "loud"],
            "error: --log-level 'loud' is none of debug, info, warning, error\n",
        ),
        (["run", "--lisen", "x"], "error: no such option '--lisen'; did you mean '--listen'?\n"),
        (["check", "--version"], "error: no such option '--version'\n"),
        (["check", "a", "b"], "error: 'b' is one argument too many\n  try: wasmplex check --help\n"),
        (["explain", "."], "error: the argument LABEL is missing\n  try: wasmplex explain --help\n"),
        (["label", "x.wasm", "a=b"], "error: the option --output is missing\n  try: wasmplex label --help\n"),
        (["plugins", "sqlite"], "error: there is no command 'sqlite'\n  try: wasmplex plugins show sqlite\n"),
        (["new", "plugni"], "error: there is no command 'plugni'\n  try: did you mean 'plugin'?\n"),
        (["zzz"], "error: there is no command 'zzz'\n  because: there are run, check, explain,"),
        (["chekc"], "error: there is no command 'chekc'\n  try: did you mean 'check'?\n"),
    ],
)
def test_a_slip_is_answered_in_plain_words(cli: Cli, args: list[str], said: str) -> None:
    ended = cli(*args)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(said), ended.err


def test_what_there_is_to_choose_from_is_nothing_to_type(cli: Cli) -> None:
    assert cli("invoke", ".", "kv", "frobnicate").err == (
        "error: the component exports no function 'frobnicate'\n  known: run\n"
    )


def test_arguments_are_counted(cli: Cli) -> None:
    assert cli("invoke", ".", "kv", "run").err.startswith("error: run takes 1 argument, not 0\n")


def test_what_is_wrong_on_the_command_line_is_in_no_line_of_a_file(cli: Cli, home: Path) -> None:
    (home / "host.toml").write_text("[workload.hello]\ncomponent = 'hello.wasm'\ntrigger.http = {}\n")
    assert "\n  at: the command line (--listen)\n" in cli("run", "--listen", "nowhere").err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[workload.kv]", "[workload.kv]\ntimout = 5", "try: did you mean 'limits.timeout'?"),
        ("[workload.kv]", "[workload.kv]\nmemory = 5", "try: did you mean 'limits.memory'?"),
        ("[workload.kv]", "[workload.kv]\ndirz = {}", "try: did you mean 'dirs'?"),
        ('"store.db"', "7", 'because: must be text\n  try: path = "..."'),
        ('backend = "memory"', "", "error: the binding names no backend, which wasi:keyvalue needs\n"),
    ],
)
def test_a_key_in_the_wrong_place(cli: Cli, home: Path, old: str, new: str, said: str) -> None:
    text = (home / "host.toml").read_text()
    (home / "host.toml").write_text(text.replace(old, new, 1))
    ended = cli("check")
    assert said in ended.err
    assert ended.err.count("error: ") == 1


def test_the_readme_of_a_plugin_says_nothing_to_the_tests_of_this_project(cli: Cli, home: Path) -> None:
    assert cli("new", "plugin", "acme").code == 0
    fences = re.findall("^```.+$", (home / "host-plugin-acme" / "README.md").read_text(), re.MULTILINE)
    assert set(fences) == {"```toml", "```sh"}


def test_a_plugin_is_not_given_the_name_of_another(cli: Cli, home: Path) -> None:
    ended = cli("new", "plugin", "sqlite")
    assert ended.code == 2
    assert ended.err == (
        "error: there is a plugin 'sqlite' already\n"
        "  because: host-plugin-sqlite is installed, and a configuration could not tell them apart\n"
        "  try: wasmplex new plugin my-sqlite\n"
    )
    assert not (home / "host-plugin-sqlite").exists()
