"""The exact text of every error, with its line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from wasmplex.config import load
from wasmplex.errors import ConfigError

Problems = Callable[..., str]


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return caught.value.render()


@pytest.mark.cases("errors.toml.txt")
def test_toml(problems: Problems, text: str, expected: str) -> None:
    assert problems(text) == expected


@pytest.mark.cases("errors.yaml.txt")
def test_yaml(problems: Problems, text: str, expected: str) -> None:
    assert problems(text, "host.yaml") == expected


def test_numbers_of_thousands_of_digits(problems: Problems) -> None:
    assert problems("[host]\nname = " + "1" * 5000) == (
        "error: host.toml is not valid TOML\n  at: host.toml:2\n  because: a number has thousands of digits"
    )
    shop = "[workload.shop]\ncomponent = 'shop.wasm'\n"
    assert problems(f"{shop}instances.max = 1{'0' * 400}\n") == (
        f"error: max = 1{'0' * 55}...0 is not valid\n"
        "  at: host.toml:3 (workload.shop.instances.max)\n"
        "  because: must be less than or equal to 1000000000"
    )
    assert problems("host: {name: " + "1" * 5000 + "}", "host.yaml") == (
        "error: the value is not what its tag !!int says\n  at: host.yaml:1 (host.name)"
    )


def test_deep_toml(problems: Problems) -> None:
    expected = "error: host.toml is nested too deeply\n  at: host.toml:1"
    assert problems("a = " + "[" * 5000 + "]" * 5000) == expected


def test_control_characters_in_yaml(problems: Problems) -> None:
    assert problems("host:\n  name: \x01\n", "host.yaml") == (
        "error: host.yaml is not valid YAML\n"
        "  at: host.yaml:2\n"
        "  because: the character U+0001 is not allowed"
    )


def test_aliases_do_not_expand_without_bound(problems: Problems) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 12))
    found = problems(f"l0: &l0 [x, x]\n{levels}", "host.yaml")
    assert "host.yaml has too many values" in found
    assert "because: aliases expand to more than 200000" in found


def test_merges_do_not_expand_without_bound(problems: Problems) -> None:
    levels = "".join(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
    assert "has too many values" in problems(f"l0: &l0 {{a: 1, b: 2}}\n{levels}", "host.yaml")


@pytest.mark.parametrize("text", ["[" * 3000, "a: " + "{a: " * 3000, "- " * 3000, "? " * 3000])
def test_deep_yaml(problems: Problems, text: str) -> None:
    assert problems(text, "host.yaml").count("error: ") == 1


def test_everything_is_reported_at_once_in_the_order_of_lines(problems: Problems) -> None:
    found = problems(
        "zero = 0\n[host]\nnmae = 1\n[workload.a]\ncomponent = 'x.wasm'\nnetwork = 1\n"
        "import.b.version = 1\ntrigger.http = 1\n[engine]\ncache = 1\n"
    )
    lines = [line.split(":")[2].split()[0] for line in found.splitlines() if line.startswith("  at:")]
    assert lines == ["1", "3", "5", "6", "7", "8", "10"]


# ------------------------------------------------------------------------------------------ files


def test_no_file(home: Path) -> None:
    assert refused(Path("hosst.toml")) == (
        'error: the configuration "hosst.toml" cannot be read\n  because: no such file or directory'
    )
    (home / "host.toml").touch()
    assert refused(Path("hosst.toml")).endswith("\n  try: did you mean 'host.toml'?")


def test_a_directory(home: Path) -> None:
    assert refused(home / "data") == (
        f'error: no configuration in the directory "{home / "data"}"\n'
        "  because: there is no host.toml, host.yaml or host.yml\n"
        f"  try: wasmplex new host COMPONENT.wasm --into {home / 'data'} writes one; "
        "wasmplex run COMPONENT.wasm needs none"
    )
    (home / "data" / "host.yml").write_text("host: {name: x}")
    assert load(home / "data", {}).name == "x"
    (home / "data" / "host.toml").touch()
    assert refused(home / "data") == (
        f'error: more than one configuration in the directory "{home / "data"}"\n'
        "  because: there are host.toml and host.yml\n"
        f"  try: wasmplex check {home / 'data' / 'host.toml'}"
    )


def test_a_name_that_says_neither_toml_nor_yaml(home: Path) -> None:
    (home / "host.conf").touch()
    assert refused(Path("host.conf")) == (
        'error: "host.conf" is neither TOML nor YAML by its name\n'
        "  at: host.conf\n"
        "  because: a configuration ends in .toml, .yaml, .yml\n"
        "  try: mv host.conf host.toml"
    )


def test_not_utf8(home: Path) -> None:
    (home / "host.toml").write_bytes("[host]\nname = 'café'".encode("latin-1"))
    assert refused(Path("host.toml")) == (
        "error: host.toml is not UTF-8 text\n"
        "  at: host.toml:2\n"
        "  because: the byte 0xe9 at offset 18 does not belong there\n"
        "  try: iconv -f LATIN1 -t UTF-8 host.toml"
    )


def test_too_large(home: Path) -> None:
    (home / "host.toml").write_bytes(b"#" * (2**20 + 1))
    assert refused(Path("host.toml")) == (
        "error: host.toml is too large\n  at: host.toml:1\n  because: more than 1048576 bytes"
    )


def test_a_nul_in_the_path() -> None:
    assert refused(Path("a\0b.toml")) == "error: the path of the configuration holds a NUL character"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(home: Path) -> None:
    (home / "host.toml").touch(mode=0)
    assert "because: Permission denied" in refused(Path("host.toml"))


def test_a_link_that_leads_nowhere_is_not_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "host.toml").symlink_to("gone.toml")
    assert "did you mean" not in refused(tmp_path / "host.toml")
