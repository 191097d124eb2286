"""The log of `wasmplex run`, in the process that a user starts: every line is one that the host wrote."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from wasmplex.escaping import escape

Cli = Callable[..., Any]

PROGRAM = (sys.executable, "-c", "from wasmplex.cli import main; main()")
HEAD = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) "
    r"(?P<logger>[\w.-]+)(?P<origin>( request=\S+)?( host=\S+)?( workload=\S+)?): (?P<text>.*)"
)
HOSTILE = "a\x1b[2J\nb\u2028c"
"""As long, in UTF-8, as what the guest `lab` says in its error."""


class Run:
    """A host that serves, and what it logs."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def send(self, request: str | bytes, *, wait: bool = True) -> bytes:
        """Send bytes on a connection of their own; return the answer, or go away without waiting for it."""
        data = request if isinstance(request, bytes) else request.encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            answer = b""
            while wait and (piece := connection.recv(65536)):
                answer += piece
            if not wait:
                time.sleep(0.3)
        return answer

    def get(self, path: str, *headers: str, host: str = "shop.example", wait: bool = True) -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"host: {host}", "connection: close", *headers, "", ""]
        return self.send("\r\n".join(lines).encode("latin-1"), wait=wait)

    def stop(self) -> list[str]:
        """Stop, and return the lines that were logged, each as long as `str.splitlines` thinks."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=40) == 0
        return self._log.read_bytes().decode().splitlines()


@contextmanager
def running(home: Path, *args: str, settings: str = "", guest: str = "lab") -> Iterator[Run]:
    (home / "host.toml").write_text(
        f"{settings}\n[http]\nlisten = '127.0.0.1:0'\naccess_log = true\n"
        f"[workload.shop]\ncomponent = '{guest}.wasm'\ntrigger.http = {{ path = '/' }}\n"
        "limits = { timeout = '5s' }\ninstances = { max = 1, queue = 0 }\n"
    )
    log = home / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen([*PROGRAM, "run", *args], stderr=stderr)
    try:
        deadline = time.monotonic() + 50
        while not (found := re.search(r" serves .*:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Run(process, int(found[1]), log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def lab(home: Path) -> Path:
    """The current directory with a guest whose error and whose functions have hostile texts."""
    wasm = (Path(__file__).parents[3] / "tests/guests/built/lab.wasm").read_bytes()
    assert wasm.count(b"lab says no") == 1
    (home / "lab.wasm").write_bytes(wasm.replace(b"lab says no", HOSTILE.encode()))
    return home


def test_nothing_foreign_begins_a_line_or_reaches_a_terminal(lab: Path) -> None:
    attacks = ["%0a2026-01-01%2000:00:00,000%20ERROR%20root:%20forged", "%1b%5b31m", "%c2%85x", "%e2%80%a8x",
               "%e2%80%aex", "%7f", "%0d", "%09", "%00", "%ff"]  # fmt: skip
    with running(lab) as run:
        for attack in attacks:
            run.get(f"/{attack}")
            run.get("/hello", f"x-request-id: {attack} forged")
        run.get("/error?\x1b[2J\x85\x9b")
        run.get("/error", "x-request-id: fine-1")
        lines = run.stop()
    assert escape("\n".join(lines), keep="\n") == "\n".join(lines)
    assert lines[0].startswith("wasmplex serves shop: http://")
    assert lines[-1].startswith("stopping: ")
    found = [HEAD.fullmatch(line) for line in lines[1:-1]]
    assert all(found), lines
    loggers = [line["logger"] for line in found if line]
    assert set(loggers) <= {"wasmplex.http", "wasmplex.http.access"}
    assert loggers.count("wasmplex.http.access") >= 2 * len(attacks) + 1
    [cause] = [line for line in lines if "fine-1" in line and "because" in line]
    assert cause.endswith(
        r"| because: the guest answered with the error internal-error: a\x1b[2J b c".replace("| ", "|   ")
    )


def test_every_line_says_whose_request_it_belongs_to(lab: Path) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with running(lab) as run:
        run.get("/print", "x-request-id: mine")
        run.get("/print", f"traceparent: {trace}")
        run.get("/print", "traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01")
        answer = run.get("/trap")
        lines = run.stop()[1:-1]
    found = [HEAD.fullmatch(line) for line in lines]
    origins = [line["origin"] for line in found if line]
    assert len(origins) == len(lines)
    assert origins[:3] == [" request=mine host=shop.example workload=shop"] * 3
    assert origins[3:6] == [f" request={trace[3:35]} host=shop.example workload=shop"] * 3
    assert re.fullmatch(r" request=[0-9a-f]{16} host=shop.example workload=shop", origins[6])
    ident = re.search(rb"x-request-id: (\w+)", answer)
    assert ident is not None
    assert len(origins[9:]) >= 3
    assert set(origins[9:]) == {f" request={ident[1].decode()} host=shop.example workload=shop"}


@pytest.mark.parametrize("by_file", [True, False])
def test_json_lines(lab: Path, by_file: bool) -> None:
    args = [] if by_file else ["--log-format", "json", "--log-level", "info"]
    settings = (
        "[log]\nformat = 'json'\nlevel = 'info'" if by_file else "[log]\nformat = 'text'\nlevel = 'error'"
    )
    with running(lab, *args, settings=settings) as run:
        run.get("/print", "x-request-id: mine")
        run.get("/error", "x-request-id: other")
        records = [json.loads(line) for line in run.stop()]
    assert records[0]["message"].startswith("wasmplex serves shop: ")
    assert records[-1]["message"].startswith("stopping: ")
    printed = [record for record in records if record.get("request_id") == "mine"]
    assert [(r["logger"], r["message"], r.get("stream")) for r in printed[:2]] == [
        ("wasmplex.guest.shop", "a line on stdout", "stdout"),
        ("wasmplex.guest.shop", "a line on stderr", "stderr"),
    ]
    access = printed[2]
    assert access.pop("milliseconds") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z", access.pop("time"))
    assert access.pop("message").startswith("127.0.0.1 GET /print 200 ")
    assert access == {
        "level": "INFO", "logger": "wasmplex.http.access", "request_id": "mine", "host": "shop.example",
        "workload": "shop", "client": "127.0.0.1", "method": "GET", "path": "/print", "status": 200,
        "complete": True,
    }  # fmt: skip
    [failed] = [record for record in records if record["level"] == "ERROR"]
    assert (failed["request_id"], failed["status"]) == ("other", 502)
    assert (
        failed["message"].split("\n")[1]
        == r"  because: the guest answered with the error internal-error: a\x1b[2J b c"
    )


def test_what_is_wrong_is_json_as_well_if_asked_for(process: Cli, home: Path) -> None:
    (home / "host.toml").write_text("[host]\nnom = 'x\x1b'\n")
    ended = process("run", "--log-format", "json")
    assert ended.code == 2
    assert [json.loads(line)["level"] for line in ended.err.splitlines()] == ["ERROR"] * len(
        ended.err.splitlines()
    )
    assert json.loads(ended.err.splitlines()[0])["where"].startswith("host.toml:")


def test_what_is_no_request_is_logged_as_well(lab: Path) -> None:
    with running(lab) as run:
        run.send(b"GET /\x1b[2J\n2026 HTTP/1.1\r\nhost: a\r\n\r\n")
        run.get("/hello", host="a b\x1b")
        run.get("/hello")
        lines = [line.partition(": ")[2] for line in run.stop() if "http.access" in line]
    assert [line.partition(" (")[0] for line in lines[:2]] == ["127.0.0.1 - - 400"] * 2
    assert lines[2].startswith("127.0.0.1 GET /hello 200 ")


def test_a_client_that_goes_away_is_logged_with_499(lab: Path) -> None:
    with running(lab) as run:
        run.get("/sleep?ms=60000", wait=False)
        run.get("/endless", wait=False)
        lines = [line for line in run.stop() if "http.access" in line]
    texts = [line.partition(": ")[2].rpartition(" ")[0] for line in lines]
    assert texts == ["127.0.0.1 GET /sleep 499", "127.0.0.1 GET /endless 200 (cut off)"]


def test_a_request_that_the_host_gives_up_is_logged_with_444(lab: Path) -> None:
    with (
        running(lab, "--drain-timeout", "100ms") as run,
        socket.create_connection(("127.0.0.1", run.port), timeout=20) as connection,
    ):
        connection.sendall(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(0.3)
        lines = run.stop()
    assert [line.partition(": ")[2].rpartition(" ")[0] for line in lines if "http.access" in line] == [
        "127.0.0.1 GET /sleep 444"
    ]


def test_warnings_that_are_repeated_are_counted(lab: Path) -> None:
    with running(lab) as run:
        with socket.create_connection(("127.0.0.1", run.port), timeout=20) as busy:
            busy.sendall(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: a\r\n\r\n")
            time.sleep(0.3)
            for _ in range(200):
                assert b" 503 " in run.get("/hello")
        lines = run.stop()
    assert sum("http.access" in line for line in lines) == 201
    warnings = [line for line in lines if " WARNING " in line]
    assert len([line for line in warnings if "limits" not in line and "| " not in line]) < 10
    counts = [
        int(found[1].replace(",", "")) for line in warnings if (found := re.search("… ([0-9,]+) more", line))
    ]
    shown = [line for line in warnings if "…" not in line and "| " not in line]
    assert sum(counts) + len(shown) == 200


def test_a_level_is_kept(lab: Path) -> None:
    with running(lab, settings="[log]\nlevel = 'error'") as run:
        run.get("/print")
        run.get("/trap")
        lines = run.stop()
    assert {line.split(" ")[2] for line in lines[1:-1]} == {"ERROR"}


def test_what_python_would_print_as_it_is_is_logged(home: Path) -> None:
    code = """
import sys, threading, warnings
from wasmplex.cli.logs import set_up_logging, take_over
set_up_logging("info")
take_over()
class Bad:
    def __del__(self):
        raise ValueError("x\\n2026-01-01 00:00:00,000 ERROR root: forged\\x1b[2J")
def fail():
    raise OSError("x\\n2026-01-01 00:00:00,000 ERROR root: forged\\x1b[2J")
thread = threading.Thread(target=fail, name="work\\ner")
thread.start()
thread.join()
Bad()
warnings.warn("x\\n2026-01-01 00:00:00,000 ERROR root: forged\\x1b[2J")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stderr.splitlines()
    heads = [HEAD.fullmatch(line.replace("py.warnings", "wasmplex.warnings")) for line in lines]
    assert all(heads), done.stderr
    assert escape(done.stderr, keep="\n") == done.stderr
    assert sum(not head["text"].startswith("| ") for head in heads if head) == 3
    assert any("| 2026-01-01" in line for line in lines)


# ------------------------------------------------------------ what commands print

NAMES = """
(component
  (core module $code (func $"a\\1b[2J\\0a  1: 0x1 - forged\\c2\\9b\\e2\\80\\a8"
    (export "run") (result i32) unreachable))
  (core instance $instance (instantiate $code))
  (func (export "run") (result u32) (canon lift (core func $instance "run"))))
"""


def test_names_of_functions_in_a_trap(cli: Cli, home: Path) -> None:
    (home / "names.wasm").write_bytes(wasmtime.wat2wasm(NAMES))
    (home / "host.toml").write_text("[workload.names]\ncomponent = 'names.wasm'\n")
    ended = cli("invoke", "host.toml", "names", "run")
    assert ended.code == 1
    assert escape(ended.err, keep="\n") == ended.err
    assert len(ended.err.splitlines()) == 3


@pytest.mark.parametrize(
    "args", [["check"], ["check", "--json"], ["explain", "host.toml", "cache"], ["doctor"]]
)
def test_names_of_files_hosts_and_variables(cli: Cli, home: Path, args: list[str]) -> None:
    odd = "k\x1b[2J\u202ev.wasm"
    (home / odd).symlink_to(home / "kv.wasm")
    text = (home / "host.toml").read_text().replace("kv.wasm", r"k\u001b[2J\u202ev.wasm")
    (home / "host.toml").write_text('[host]\nname = "\\u009b31m"\n' + text)
    ended = cli(*args)
    assert ended.code == 0, ended.err
    assert escape(ended.out, keep="\n") == ended.out
    if "--json" in args:
        shown = json.loads(ended.out)
        assert (shown["host"], Path(shown["workloads"][0]["component"]).name) == ("\x9b31m", odd)
    elif args != ["doctor"]:
        assert r"k\x1b[2J\u202ev.wasm" in ended.out
    (home / "host.toml").write_text('[workload.kv]\ncomponent = { env = "A\\u001b[2JB" }\n')
    ended = cli(*args)
    assert ended.code == 2
    assert escape(ended.err, keep="\n") == ended.err


@pytest.mark.parametrize(
    "args", [["plugins"], ["plugins", "freeze"], ["--help"], ["doctor"], ["\x1b[2J"], ["inspect", "\x9b"]]
)
def test_names_of_plugins_commands_and_arguments(process: Cli, tmp_path: Path, args: list[str]) -> None:
    folder = tmp_path / "site" / "odd-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\x1b[31m\nVersion: 1.0\x1b[2J\n")
    (folder / "entry_points.txt").write_text(
        "[wasmplex.backends]\nod\x1b[2Jd = odd:x\n[wasmplex.commands]\nod\x9bd = odd:command\n"
    )
    ended = process(*args, env={"PYTHONPATH": str(tmp_path / "site")})
    said = ended.out + ended.err
    assert escape(said, keep="\n") == said
    assert "\\x1b" in said or "\\x9b" in said
