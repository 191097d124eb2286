"""A command-line guest sees of the outside what its configuration grants, and nothing else."""

import logging
from pathlib import Path

import anyio
import guests
import pytest
from wasmplex.host import Host
from wasmplex.values import Err

pytestmark = pytest.mark.anyio
RUN = "wasi:cli/run@0.2.3#run"


class Program:
    """Runs the guest `command` with arguments, each in a host of its own, and keeps what it says."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self.caplog = caplog

    async def run(self, *args: str, settings: str = "") -> list[str]:
        """Return the lines that the program has written.

        :raises Err: if it says that it failed
        """
        quoted = ", ".join(f'"{arg}"' for arg in args)
        path = self.folder / "host.toml"
        path.write_text(
            f'[workload.program]\ncomponent = "{guests.path("command")}"\nargs = [{quoted}]\n{settings}\n'
        )
        self.caplog.clear()
        async with Host.from_config(path) as host:
            await host.call("program", RUN)
        return self.lines()

    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.caplog.records if "program" in record.name]


@pytest.fixture
def program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Program:
    caplog.set_level(logging.INFO)
    return Program(tmp_path, caplog)


async def test_arguments_and_environment(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_HOST", "unseen")
    monkeypatch.setenv("GIVEN", "seen")
    said = await program.run("env", "args", "one", "two", settings='env = { A = "b", C = { env = "GIVEN" } }')
    assert said == ["A=b", "C=seen", "one", "two"]


async def test_a_directory_is_opened_and_none_else(program: Program) -> None:
    (program.folder / "data").mkdir()
    (program.folder / "secret.txt").write_text("not for guests")
    grant = 'dirs = { "/data" = "./data" }'
    said = await program.run("dirs", "write", "f.txt", "hello", "ls", ".", "cat", "f.txt", settings=grant)
    assert said == ["/data", "f.txt", "hello"]
    assert (program.folder / "data" / "f.txt").read_text() == "hello"
    with pytest.raises(Err):
        await program.run("cat", "../secret.txt", settings=grant)
    assert not any("not for guests" in line for line in program.lines())


async def test_without_a_grant_there_is_no_directory(program: Program) -> None:
    assert await program.run("dirs") == []


async def test_the_network_is_denied_until_it_is_allowed(program: Program) -> None:
    async def pong(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"got " + await stream.receive())

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, pong)
        port = str(listener.extra(anyio.abc.SocketAttribute.local_port))
        with pytest.raises(Err):
            await program.run("tcp", port, "ping")
        assert await program.run("tcp", port, "ping", settings='network = "allow"') == ["got ping"]
        tasks.cancel_scope.cancel()


async def test_the_exit_status_is_the_result(program: Program) -> None:
    assert await program.run("warn", "on stderr") == ["on stderr"]
    with pytest.raises(Err):
        await program.run("fail")
