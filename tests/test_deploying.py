"""The unit and the Dockerfile of docs/deploying.md: commands in them are commands, paths are there."""

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import click
import pytest
from fences import ROOT, fences
from wasmplex.cli.root import root

PAGE = ROOT / "docs" / "deploying.md"


def text(language: str) -> str:
    (found,) = (fence.text for fence in fences(PAGE, language) if "file" in fence.values)
    return found


def assert_command(words: list[str]) -> None:
    """There is such a command, and it takes these arguments."""
    program, name, *arguments = words
    assert program == "/opt/wasmplex/bin/wasmplex"
    command = root.get_command(click.Context(root), name)
    assert command is not None
    command.make_context(name, arguments)


def unit() -> dict[str, str]:
    parser = ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text("ini"))
    return dict(parser["Service"])


def seconds(value: str) -> int:
    return int(value.removesuffix("s"))


def test_the_unit_runs_commands_that_there_are() -> None:
    service = unit()
    for key in ("ExecStartPre", "ExecStart"):
        assert_command(shlex.split(service[key]))
    run = shlex.split(service["ExecStart"])
    assert seconds(service["TimeoutStopSec"]) > seconds(run[run.index("--drain-timeout") + 1])
    assert "MemoryDenyWriteExecute" not in service


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / "wasmplex.service"
    path.write_text(text("ini").replace("/opt/wasmplex/bin/wasmplex", "/bin/true"))
    done = subprocess.run(
        [program, "verify", "--man=no", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert not [line for line in done.stderr.splitlines() if str(path) in line], done.stderr


def test_the_dockerfile_installs_what_is_there_and_runs_it() -> None:
    dockerfile = text("dockerfile").replace("\\\n", " ")
    for folder in re.findall(r" \./([\w/]+)", dockerfile):
        assert (ROOT / folder / "pyproject.toml").is_file()
    (check,) = re.findall(r"^RUN (/opt/wasmplex/bin/wasmplex .*)$", dockerfile, re.MULTILINE)
    assert_command(shlex.split(check))
    (entry,) = re.findall(r"^ENTRYPOINT \[(.*)\]$", dockerfile, re.MULTILINE)
    assert_command(shlex.split(entry.replace(",", " ")))
