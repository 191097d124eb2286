"""Compiled code on disk: used when it is ours and whole, made anew when it is not."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
import wasmtime
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.cache import CodeCache, _ours
from wasmplex.engine.text import assemble
from wasmplex.errors import ComponentError

from .test_calls import kv

pytestmark = pytest.mark.anyio


@pytest.fixture
def wasm(guest_text: Any) -> bytes:
    return bytes(assemble(guest_text("kv")))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)
    return directory


def entries(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.cwasm"))


def is_empty(cache: Path) -> bool:
    return not any(cache.iterdir())


async def phases(wasm: bytes, cache: Path | None, **settings: Any) -> list[str]:
    """Compile in a fresh engine, run the guest, and return what progress said."""
    told: list[str] = []
    async with Engine(EngineSettings(cache_dir=cache, **settings)) as engine:
        compiled = await engine.compile(wasm, read(wasm), told.append)
        instance = await engine.link(compiled, kv(), "shop").instantiate()
        assert await instance.call("run-add", 4) == 10
        instance.close()
    return [phase.split()[0] for phase in told]


async def test_second_time_nothing_is_compiled(wasm: bytes, cache: Path) -> None:
    assert await phases(wasm, cache) == ["looking", "compiling"]
    assert await phases(wasm, cache) == ["looking"]
    (entry,) = entries(cache)
    assert os.stat(entry).st_mode & 0o077 == 0  # noqa: PTH116


async def test_other_settings_are_another_entry(wasm: bytes, cache: Path) -> None:
    await phases(wasm, cache)
    assert await phases(wasm, cache, proposals={"gc": True}) == ["looking", "compiling"]
    assert len(entries(cache)) == 2


def replace(entry: Path, code: bytes) -> None:
    stem = entry.name.split(".")[0]
    entry.unlink()
    entry.with_name(f"{stem}.{hashlib.sha256(code).hexdigest()}.cwasm").write_bytes(code)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def open_to_others(path: Path) -> None:
    path.chmod(0o666)


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize("damage", [truncate, flip, empty, open_to_others, dangle])
async def test_damaged_entry_is_made_anew(wasm: bytes, cache: Path, damage: Any) -> None:
    await phases(wasm, cache)
    (entry,) = entries(cache)
    damage(entry)
    assert await phases(wasm, cache) == ["looking", "compiling"]
    assert await phases(wasm, cache) == ["looking"]


async def test_entry_that_wasmtime_refuses_is_made_anew(wasm: bytes, cache: Path) -> None:
    """An entry of another engine under the right name and with the right digest."""
    await phases(wasm, cache)
    (entry,) = entries(cache)
    foreign = bytes(wasmtime.Module(wasmtime.Engine(), "(module)").serialize())
    replace(entry, foreign)
    assert await phases(wasm, cache) == ["looking", "compiling"]
    assert await phases(wasm, cache) == ["looking"]


async def test_directory_that_others_may_write_is_not_used(wasm: bytes, cache: Path, caplog: Any) -> None:
    os.chmod(cache, 0o777)  # noqa: PTH101
    assert await phases(wasm, cache) == ["looking", "compiling"]
    assert is_empty(cache)
    assert f"chmod 700 {cache}" in caplog.text
    assert len([r for r in caplog.records if "not cached" in r.message]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
async def test_directory_of_another_user_is_not_used(wasm: bytes, cache: Path) -> None:
    os.chown(cache, 12345, 12345)
    assert await phases(wasm, cache) == ["looking", "compiling"]
    assert is_empty(cache)


@pytest.mark.parametrize(
    ("uid", "mode", "ours"),
    [(1000, 0o755, True), (0, 0o755, True), (0, 0o775, False), (1000, 0o757, False), (1001, 0o700, False)],
)
def test_only_what_we_or_root_alone_can_write_is_run(
    monkeypatch: pytest.MonkeyPatch, uid: int, mode: int, ours: bool
) -> None:
    """Root's, for the image of a container is compiled when it is built, and run as somebody else."""
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert _ours(os.stat_result((mode, 1, 1, 1, uid, uid, 0, 0, 0, 0))) is ours


async def test_directory_that_cannot_be_made(wasm: bytes, tmp_path: Path, caplog: Any) -> None:
    blocked = tmp_path / "file"
    empty(blocked)
    assert await phases(wasm, blocked / "cache") == ["looking", "compiling"]
    assert "not cached" in caplog.text


async def test_entry_that_cannot_be_removed_does_no_harm(wasm: bytes, cache: Path) -> None:
    await phases(wasm, cache)
    (entry,) = entries(cache)
    entry.unlink()
    (entry / "full").mkdir(parents=True)
    assert await phases(wasm, cache) == ["looking", "compiling"]


@pytest.mark.parametrize("filled", [True, False])
def test_read_only_file_system(wasm: bytes, cache: Path, tmp_path: Path, filled: bool) -> None:
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(wasm)
    if filled:
        subprocess.run([sys.executable, "-c", COMPILE, guest, cache], check=True, timeout=60)
    told, warned = in_mount("mount --bind $1 $1 && mount -o remount,ro,bind $1", cache, COMPILE, guest)
    assert told == ["looking", *(() if filled else ["compiling"]), str(len(wasm))]
    assert warned.count("compiled code cannot be kept") == (not filled)


def in_mount(mount: str, cache: Path, code: str, guest: Path) -> tuple[list[str], str]:
    """Run code where something is mounted at the cache, for it alone; return its words and its errors."""
    script = mount.replace("$1", '"$1"') + ' || exit 99; exec "$2" -c "$3" "$4" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(cache), sys.executable, code, str(guest)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("unshare(1) is not installed")
    if ended.returncode == 99 or ended.stderr.startswith("unshare"):
        pytest.skip(f"no file system can be mounted here: {ended.stderr}")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split(), ended.stderr


def test_file_system_whose_files_may_not_be_run(wasm: bytes, cache: Path, tmp_path: Path) -> None:
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(wasm)
    twice = f"for _ in range(2):\n exec({COMPILE!r})"
    told, _ = in_mount("mount -t tmpfs -o noexec,mode=700 none $1", cache, twice, guest)
    assert told == ["looking", "compiling", str(len(wasm)), "looking", str(len(wasm))]


@pytest.mark.parametrize("at", ["\0", "a" * 300])
async def test_directory_that_cannot_be(wasm: bytes, tmp_path: Path, caplog: Any, at: str) -> None:
    assert await phases(wasm, tmp_path / at) == ["looking", "compiling"]
    assert len([r for r in caplog.records if "not cached" in r.message]) == 1
    assert "chmod" not in caplog.text


async def test_no_home_is_no_cache(
    wasm: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification has it ignored
    monkeypatch.setenv("HOME", "relative, too")
    assert await phases(wasm, None) == ["looking", "compiling"]
    assert is_empty(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # a user that the system does not know
    assert await phases(wasm, None) == ["looking", "compiling"]
    assert caplog.text.count("there is no home directory") == 2
    monkeypatch.setenv("HOME", str(tmp_path))
    await phases(wasm, None)
    assert entries(tmp_path / ".cache" / "wasmplex")


async def test_one_component_is_compiled_once_at_a_time(wasm: bytes, cache: Path) -> None:
    told: list[str] = []
    async with Engine(EngineSettings(cache_dir=cache)) as engine:
        shape = read(wasm)
        found = await asyncio.gather(*(engine.compile(wasm, shape, told.append) for _ in range(5)))
    assert len({id(compiled) for compiled in found}) == 1
    assert len([text for text in told if text.startswith("compiling")]) == 1


async def test_giving_up_leaves_the_engine_usable(wasm: bytes, cache: Path) -> None:
    async with Engine(EngineSettings(cache_dir=cache)) as engine:
        with anyio.move_on_after(0):
            await engine.compile(wasm, read(wasm))
        assert (await engine.compile(wasm, read(wasm))).size == len(wasm)


async def test_loop_is_not_blocked_while_compiling(wasm: bytes) -> None:
    threads: set[int] = set()
    async with Engine(EngineSettings(use_cache=False)) as engine:
        original = wasmtime.component.Component.__init__

        def init(self: Any, *args: Any) -> None:
            threads.add(threading.get_ident())
            original(self, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wasmtime.component.Component, "__init__", init)
            await engine.compile(wasm, read(wasm))
    assert threads
    assert threading.get_ident() not in threads


async def test_component_that_is_none(cache: Path, wasm: bytes) -> None:
    shape = read(wasm)
    async with Engine(EngineSettings(cache_dir=cache)) as engine:
        with pytest.raises(ComponentError, match="cannot compile"):
            await engine.compile(wasm[:-20], shape)
    assert not entries(cache)


def test_old_entries_go(cache: Path) -> None:
    component = wasmtime.component.Component(wasmtime.Engine(), "(component)")
    store = CodeCache(cache)
    for name in ("abandoned", "written"):
        (cache / f".new-{name}").touch()
    os.utime(cache / ".new-abandoned", (0, 0))
    for number in range(70):
        store._store(cache, f"{number}", component)
    assert len(entries(cache)) == 64
    assert [path.name for path in cache.glob(".new-*")] == [".new-written"]


COMPILE = """
import asyncio, sys
from pathlib import Path
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
async def main():
    wasm = Path(sys.argv[1]).read_bytes()
    async with Engine(EngineSettings(cache_dir=Path(sys.argv[2]))) as engine:
        compiled = await engine.compile(wasm, read(wasm), lambda text: print(text.split()[0]))
        print(compiled.size)
asyncio.run(main())
"""


def test_processes_share_a_cache(wasm: bytes, cache: Path, tmp_path: Path) -> None:
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(wasm)
    command: list[str | Path] = [sys.executable, "-c", COMPILE, guest, cache]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    results = [process.communicate(timeout=60)[0].split()[-1] for process in running]
    assert results == [str(len(wasm))] * 4
    assert len(entries(cache)) == 1
