"""What the documentation shows in a shell does what it says: the fences of each page are typed, in order.

A page is one session in a directory of its own, which has the files that the page names; servers that are
started go on until its end. Info strings say which fences are left out: ``run`` are targets of make, ``by``
names the test that runs them, ``skip`` the reason why none does.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import guests
import pytest
from fences import PAGES, ROOT, Fence, fences, parameters

EXAMPLE = Path("examples/kv-cached")
ADDRESS = "127.0.0.1:8080"
HOST = f"""
[http]
listen = "{ADDRESS}"

[workload.shop]
component = "shop.wasm"
trigger.http = {{}}

[workload.shop.import.cache]
backend = "memory"

[workload.shop.import.store]
backend = "sqlite"
path = "shop.db"
"""


def left_out(fence: Fence) -> bool:
    return "run" in fence.words or not {"by", "skip"}.isdisjoint(fence.values)


def typed(page: Path) -> list[Fence]:
    return [fence for fence in fences(page, "sh") if not left_out(fence)]


class Line(NamedTuple):
    """One command line, and what the page says that it prints; None if it says nothing."""

    command: str
    printed: str | None


def lines(text: str) -> Iterator[Line]:
    """Cut a fence into command lines. With ``$`` before the commands, the other lines are what they print."""
    text = text.replace("\\\n", " ")
    if not text.startswith("$ "):
        yield from (Line(line, None) for line in text.splitlines() if line.strip())
        return
    for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = piece.partition("\n")
        yield Line(command, printed or None)


class Shell:
    """Types command lines in a directory; one that starts a host is left running."""

    def __init__(self, home: Path, address: str, stack: ExitStack) -> None:
        self.directory = home
        self._address = address
        self._stack = stack
        self._environment = {
            **os.environ,
            "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}",
            "CURL_HOME": str(home),
            "PIP_NO_INDEX": "1",
        }

    def type(self, line: Line) -> None:
        command = line.command.replace(ADDRESS, self._address)
        words = shlex.split(command, comments=True)
        if words[0] == "cd":
            self.directory /= words[1]
        elif words[0].endswith("wasmplex") and words[1] == "run":
            self._stack.enter_context(self._serving(command))
        else:
            done = self._run(command)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            if line.printed is not None:
                assert done.stdout.replace("\r", "") == line.printed

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=self.directory, env=self._environment,
            capture_output=True, text=True, timeout=250, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @contextmanager
    def _serving(self, command: str) -> Iterator[None]:
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.directory, env=self._environment,
            stderr=subprocess.PIPE, text=True,
        ) as host:  # fmt: skip
            assert host.stderr is not None
            try:
                said = next((line for line in host.stderr if " serves " in line), "")
                assert self._address in said, f"{command}\n{said}"
                yield
                host.send_signal(signal.SIGTERM)
                assert host.wait(timeout=40) == 0, host.stderr.read()
            finally:
                host.kill()


@pytest.fixture
def address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def home(tmp_path: Path, address: str, request: pytest.FixtureRequest) -> Path:
    """A directory with what the page at hand takes for granted."""
    page: Path = request.getfixturevalue("page")
    (tmp_path / ".curlrc").write_text("fail\nsilent\nshow-error\nmax-time = 50\n")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "shop.wasm").write_bytes(guests.component("kvhttp"))
    text = "".join(fence.text for fence in typed(page))
    if "guest.wasm" in text:
        shutil.copy(_example_component(), tmp_path / "guest.wasm")
    configurations = {f.values["file"]: f.text for f in fences(page, "toml") if "file" in f.values}
    for name, configuration in {"host.toml": HOST, **configurations}.items():
        if ADDRESS not in configuration:  # the default is that address, too
            configuration = f'[http]\nlisten = "{ADDRESS}"\n{configuration}'
        (tmp_path / name).write_text(configuration.replace(ADDRESS, address))
    if str(EXAMPLE) in text:
        _copy_the_example(tmp_path / EXAMPLE, address)
    return tmp_path


def _example_component() -> Path:
    """Return the component that the script of the example makes, or has made."""
    command: list[str | Path] = [sys.executable, ROOT / EXAMPLE / "build.py", "python"]
    subprocess.run(command, check=True, capture_output=True, timeout=250)
    return ROOT / EXAMPLE / ".build" / "python.wasm"


def _copy_the_example(target: Path, address: str) -> None:
    _example_component()
    shutil.copytree(
        ROOT / EXAMPLE, target, ignore=shutil.ignore_patterns("node_modules", "*.db*", "javascript*")
    )
    host = target / "host.toml"
    host.write_text(host.read_text().replace(ADDRESS, address))


@pytest.mark.timeout(300)  # the first run may compile a guest
@pytest.mark.parametrize(
    "page", [page for page in PAGES if typed(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_types(page: Path, home: Path, address: str) -> None:
    every = [line for fence in typed(page) for line in lines(fence.text)]
    for program in {shlex.split(line.command, comments=True)[0] for line in every} & {"curl"}:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    with ExitStack() as stack:
        shell = Shell(home, address, stack)
        for line in every:
            shell.type(line)


@pytest.mark.parametrize("fence", [p for p in parameters("sh") if left_out(p.values[0])])
def test_what_is_not_typed_has_its_reason(fence: Fence) -> None:
    if "run" in fence.words:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        words = [shlex.split(line.command, comments=True) for line in lines(fence.text)]
        assert words
        assert all(make == "make" and target in targets for make, target in words)
    elif place := fence.values.get("by"):
        assert (ROOT / place).is_file()
        assert Path(place).name.startswith("test_")
    else:
        assert len(fence.values["skip"].split()) > 1
        pytest.skip(f"{fence}: {fence.values['skip']}")


def test_the_shell_notices_what_goes_wrong(tmp_path: Path) -> None:
    with ExitStack() as stack:
        shell = Shell(tmp_path, ADDRESS, stack)
        shell.type(Line("echo right", "right\n"))
        for wrong in (Line("false", None), Line("false | cat", None), Line("echo left", "right\n")):
            with pytest.raises(AssertionError):
                shell.type(wrong)
