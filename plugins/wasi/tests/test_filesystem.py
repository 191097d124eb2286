"""Files and directories, through the functions that a guest calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from host_plugin_wasi.filesystem.descriptor import Descriptor
from host_plugin_wasi.filesystem.errors import DOMAIN
from host_plugin_wasi.io import READ_LIMIT, Violation
from wasmplex.plugin import BackendError, Err, Grants, Variant

Bound = Callable[..., AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.anyio

NONE: frozenset[str] = frozenset()
FOLLOW = frozenset({"symlink-follow"})
CREATE = frozenset({"create"})
READ = frozenset({"read"})
WRITE = frozenset({"write"})
BOTH = READ | WRITE
NOW = Variant("now")


def names(path: Path) -> list[str]:
    return sorted(os.fsdecode(entry.name) for entry in path.iterdir())


def open_files(below: Path) -> list[str]:
    """Return what this process has open of a directory: what else it opens is others' business."""
    found = []
    for number in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that which listed them
            found.append(str(number.readlink()))
    return sorted(path for path in found if Path(path).is_relative_to(below))


@pytest.fixture
async def root(bound: Bound, tmp_path: Path) -> AsyncIterator[Descriptor]:
    async with bound("wasi:filesystem", Grants(dirs={"/data": tmp_path})) as filesystem:
        ((descriptor, name),) = await filesystem("preopens#get-directories")
        assert name == "/data"
        before = open_files(tmp_path)
        yield descriptor
        assert open_files(tmp_path) == before
        descriptor.drop()


async def refused(code: str, call: Any) -> None:
    with pytest.raises(Err) as caught:
        await call
    assert caught.value.value == code


async def opened(
    root: Descriptor, path: str, how: frozenset[str] = NONE, flags: frozenset[str] = READ
) -> Descriptor:
    return await root.open_at(FOLLOW, path, how, flags)


# ---------------------------------------------------------------- preopens


async def test_no_directory_is_granted_by_default(bound: Bound) -> None:
    async with bound("wasi:filesystem") as filesystem:
        assert await filesystem("preopens#get-directories") == []


async def test_preopens_come_in_order_and_end_with_the_workload(bound: Bound, tmp_path: Path) -> None:
    dirs = {f"/{name}": tmp_path / name for name in "cab"}
    for path in dirs.values():
        path.mkdir()
    async with bound("wasi:filesystem", Grants(dirs=dirs)) as filesystem:
        first = await filesystem("preopens#get-directories")
        second = await filesystem("preopens#get-directories")
        assert [name for _, name in first] == ["/c", "/a", "/b"]
        assert first[0][0].is_same_object(second[0][0])
        assert not first[0][0].is_same_object(second[1][0])
        assert open_files(tmp_path) == sorted(map(str, dirs.values()))
        for descriptor, _ in first + second:
            descriptor.drop()
        third = await filesystem("preopens#get-directories")
    assert len(open_files(tmp_path)) == 3  # the workload is gone, its guest not yet
    for descriptor, _ in third:
        descriptor.drop()
    assert open_files(tmp_path) == []


async def test_a_missing_directory_is_reported_and_the_others_are_closed(
    bound: Bound, tmp_path: Path
) -> None:
    with pytest.raises(BackendError, match="no such file or directory") as caught:
        async with bound("wasi:filesystem", Grants(dirs={"/a": tmp_path, "/b": tmp_path / "missing"})):
            raise AssertionError
    assert "mkdir" in str(caught.value)
    assert open_files(tmp_path) == []


# ---------------------------------------------------------------- contents


async def test_write_and_read_back(root: Descriptor, tmp_path: Path) -> None:
    file = await opened(root, "f", CREATE, BOTH)
    assert await file.write(b"hello", 0) == 5
    assert await file.write(b"world", 7) == 5
    assert await file.read(100, 0) == (b"hello\0\0world", False)
    assert await file.read(3, 1) == (b"ell", False)
    assert await file.read(0, 0) == (b"", False)
    assert await file.read(3, 12) == (b"", True)
    await file.sync()
    await file.sync_data()
    await file.set_size(2)
    assert await file.read(100, 0) == (b"he", False)
    for advice in ("normal", "sequential", "random", "will-need", "dont-need", "no-reuse"):
        await file.advise(0, 0, advice)
    assert file.get_flags() == BOTH
    assert file.get_type() == "regular-file"
    file.drop()
    assert (tmp_path / "f").read_bytes() == b"he"


async def test_offsets_and_sizes_that_no_file_has(root: Descriptor) -> None:
    file = await opened(root, "f", CREATE, BOTH)
    await refused("invalid", file.read(1, 2**64 - 1))
    await refused("invalid", file.write(b"x", 2**64 - 1))
    await refused("invalid", file.set_size(2**64 - 1))
    assert await file.read(2**64 - 1, 0) == (b"", True)
    file.drop()


async def test_large_files_come_in_pieces(root: Descriptor, tmp_path: Path, bound: Bound) -> None:
    content = os.urandom(2 * READ_LIMIT + 12345)
    (tmp_path / "big").write_bytes(content)
    file = await opened(root, "big")
    async with bound("wasi:io") as io:
        for length in (1000_000_000, 65536):
            stream = file.read_via_stream(7)
            got = bytearray()
            with suppress(Err):
                while True:
                    piece = await io("streams#[method]input-stream.blocking-read", stream, length)
                    assert len(piece) <= min(length, READ_LIMIT)
                    got += piece
            stream.drop()
            assert got == content[7:]
    file.drop()


async def test_streams_outlive_their_descriptor(root: Descriptor, tmp_path: Path, bound: Bound) -> None:
    file = await opened(root, "f", CREATE, BOTH)
    out, back, end = file.write_via_stream(2), file.read_via_stream(0), file.append_via_stream()
    file.drop()
    async with bound("wasi:io") as io:
        call = "streams#[method]output-stream."
        await io(f"{call}write", out, b"abc")
        await io(f"{call}blocking-write-and-flush", out, b"def")
        await io(f"{call}blocking-write-and-flush", end, b"ghi")
        await io(f"{call}blocking-write-zeroes-and-flush", end, 2)
        assert (await io(f"{call}subscribe", out)).ready()
        with pytest.raises(Violation):
            await io(f"{call}write", out, bytes(READ_LIMIT + 1))
        assert await io("streams#[method]input-stream.skip", back, 1) == 1
        assert await io("streams#[method]input-stream.read", back, 100) == b"\0abcdefghi\0\0"
        with pytest.raises(Err) as caught:
            await io("streams#[method]input-stream.read", back, 100)
        assert caught.value.value == Variant("closed")
    for stream in (out, back, end):
        stream.drop()
    assert (tmp_path / "f").read_bytes() == b"\0\0abcdefghi\0\0"


async def test_appends_of_two_streams_do_not_overwrite_each_other(root: Descriptor, tmp_path: Path) -> None:
    one, two = await opened(root, "log", CREATE, WRITE), await opened(root, "log", NONE, WRITE)
    streams = one.append_via_stream(), two.append_via_stream()
    for i in range(20):
        await asyncio.gather(*(stream.write(f"{i}\n".encode()) for stream in streams))
    for thing in (one, two, *streams):
        thing.drop()
    assert sorted((tmp_path / "log").read_text().split()) == sorted([str(i) for i in range(20)] * 2)


async def test_a_failed_stream_says_why_and_closes(root: Descriptor, bound: Bound) -> None:
    file = await opened(root, "f", CREATE, WRITE)
    stream = file.write_via_stream(2**63 - 1)
    async with bound("wasi:filesystem") as filesystem:
        with pytest.raises(Err) as caught:
            await stream.write(b"xx")
        assert caught.value.value.tag == "last-operation-failed"
        error = caught.value.value.value
        code = await filesystem("types#filesystem-error-code", error)
        assert code in {"invalid", "file-too-large"}
        assert code in error.to_debug_string()
        assert error.code_of("network") is None
    with pytest.raises(Err) as caught:
        stream.check_write()
    assert caught.value.value == Variant("closed")
    stream.drop()
    file.drop()
    assert DOMAIN == "filesystem"


async def test_access_is_what_was_asked_for(root: Descriptor, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    reader, writer = await opened(root, "f"), await opened(root, "f", NONE, WRITE)
    neither = await opened(root, "f", NONE, NONE)
    await refused("bad-descriptor", reader.write(b"y", 0))
    await refused("bad-descriptor", reader.set_size(0))
    await refused("bad-descriptor", writer.read(1, 0))
    await refused("bad-descriptor", neither.read(1, 0))
    for descriptor, method in (
        (writer, "read_via_stream"),
        (reader, "write_via_stream"),
        (root, "read_via_stream"),
    ):
        with pytest.raises(Err, match="bad-descriptor"):
            getattr(descriptor, method)(0)
    with pytest.raises(Err, match="bad-descriptor"):
        reader.append_via_stream()
    await refused("bad-descriptor", root.read(1, 0))
    await refused("bad-descriptor", root.advise(0, 0, "normal"))
    await refused("not-directory", reader.stat_at(NONE, "x"))
    await refused("not-directory", reader.read_directory())
    await refused("not-directory", root.rename_at("f", reader, "g"))
    for descriptor in (reader, writer, neither):
        descriptor.drop()


# ---------------------------------------------------------------- opening


async def test_open_flags(root: Descriptor, tmp_path: Path) -> None:
    await refused("no-entry", opened(root, "f"))
    exclusive = CREATE | {"exclusive"}
    (await opened(root, "f", exclusive, BOTH)).drop()
    await refused("exist", opened(root, "f", exclusive, BOTH))
    (tmp_path / "f").write_bytes(b"content")
    (await opened(root, "f", CREATE, READ)).drop()
    assert (tmp_path / "f").read_bytes() == b"content"
    file = await opened(root, "f", frozenset({"truncate"}), READ)
    assert file.get_flags() == BOTH
    file.drop()
    assert (tmp_path / "f").read_bytes() == b""
    await refused("not-directory", opened(root, "f", frozenset({"directory"})))
    await refused("not-directory", opened(root, "f/"))
    await refused("not-directory", opened(root, "f/x"))
    await refused("invalid", opened(root, "d", CREATE | {"directory"}))
    await refused("is-directory", opened(root, ".", NONE, WRITE))
    sub = await opened(root, ".", frozenset({"directory"}), READ | {"mutate-directory"})
    assert sub.get_type() == "directory"
    assert sub.get_flags() == READ | {"mutate-directory"}
    assert sub.is_same_object(root)
    sub.drop()
    synced = await opened(root, "f", NONE, BOTH | {"file-integrity-sync", "data-integrity-sync"})
    await synced.write(b"x", 0)
    assert "file-integrity-sync" in synced.get_flags()
    synced.drop()


async def test_a_fifo_does_not_block_anything(root: Descriptor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fifo = await opened(root, "fifo")
    assert fifo.get_type() == "fifo"
    await refused("invalid-seek", fifo.read(1, 0))
    fifo.drop()
    await refused("no-such-device", opened(root, "fifo", NONE, WRITE))


async def test_bad_names(root: Descriptor) -> None:
    await refused("no-entry", opened(root, ""))
    await refused("invalid", opened(root, "a\0b"))
    await refused("name-too-long", opened(root, "x" * 256))
    await refused("name-too-long", opened(root, "x/" * 3000))
    await refused("name-too-long", opened(root, "x" * 2_000_000))
    await refused("no-entry", root.create_directory_at(""))
    await refused("not-permitted", root.create_directory_at("/"))
    await refused("invalid", root.symlink_at("a\0b", "link"))


async def test_unusual_names_are_only_names(root: Descriptor, tmp_path: Path) -> None:
    unusual = ["...", "..a", " ", "\\", "a\\..\\b", "-rf", "~", "é", "\N{PILE OF POO}", "\n", "*", "x" * 255]
    for name in unusual:
        (await opened(root, name, CREATE, BOTH)).drop()
    assert names(tmp_path) == sorted(unusual)


# ---------------------------------------------------------------- directories


async def listing(directory: Descriptor) -> dict[str, str]:
    stream = await directory.read_directory()
    found: dict[str, str] = {}
    while (entry := await stream.read_directory_entry()) is not None:
        assert entry["name"] not in found
        found[entry["name"]] = entry["type"]
    stream.drop()
    return found


async def test_listing_a_directory(root: Descriptor, tmp_path: Path) -> None:
    assert await listing(root) == {}
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("dir")
    os.mkfifo(tmp_path / "fifo")
    kinds = {"dir": "directory", "file": "regular-file", "link": "symbolic-link", "fifo": "fifo"}
    assert await listing(root) == kinds
    for i in range(1000):
        (tmp_path / "dir" / str(i)).touch()
    sub = await opened(root, "dir")
    assert await listing(sub) == {str(i): "regular-file" for i in range(1000)}
    one, two = await sub.read_directory(), await sub.read_directory()
    assert await one.read_directory_entry() is not None
    assert await two.read_directory_entry() is not None
    for thing in (one, two, sub):
        thing.drop()


async def test_a_name_that_is_not_text_is_an_error_and_the_listing_goes_on(
    root: Descriptor, tmp_path: Path
) -> None:
    (tmp_path / "good").touch()
    (tmp_path / os.fsdecode(b"bad\xff")).touch()
    stream = await root.read_directory()
    seen: list[Any] = []
    for _ in range(3):
        try:
            seen.append(await stream.read_directory_entry())
        except Err as error:
            seen.append(error.value)
    stream.drop()
    assert "illegal-byte-sequence" in seen
    assert {"name": "good", "type": "regular-file"} in seen
    assert seen[2] is None


async def test_making_removing_and_renaming(root: Descriptor, tmp_path: Path) -> None:
    await root.create_directory_at("a")
    await root.create_directory_at("a/b/")
    await refused("exist", root.create_directory_at("a"))
    await refused("no-entry", root.create_directory_at("x/y"))
    await refused("not-empty", root.remove_directory_at("a"))
    await refused("is-directory", root.unlink_file_at("a"))
    (tmp_path / "f").write_text("f")
    await refused("not-directory", root.remove_directory_at("f"))
    await refused("not-directory", root.remove_directory_at("f/"))
    await refused("not-directory", root.unlink_file_at("f/"))
    await refused("not-directory", root.rename_at("f/", root, "g"))
    sub = await opened(root, "a/b")
    await root.rename_at("f", sub, "g")
    assert (tmp_path / "a/b/g").read_text() == "f"
    await root.rename_at("a/", root, "c/")
    await root.link_at(NONE, "c/b/g", root, "h")
    assert (tmp_path / "h").stat().st_nlink == 2
    await sub.unlink_file_at("g")
    sub.drop()
    await root.remove_directory_at("c/b/")
    await root.remove_directory_at("c")
    await refused("no-entry", root.unlink_file_at("nothing"))
    await refused("busy", root.rename_at(".", root, "d"))
    assert names(tmp_path) == ["h"]


# ---------------------------------------------------------------- attributes


async def test_attributes(root: Descriptor, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    os.utime(tmp_path / "f", ns=(1_500_000_000, 2_000_000_001))
    (tmp_path / "link").symlink_to("f")
    file = await opened(root, "f")
    stat = await file.stat()
    assert stat["type"] == "regular-file"
    assert stat["size"] == 5
    assert stat["link-count"] == 1
    assert stat["data-access-timestamp"] == {"seconds": 1, "nanoseconds": 500_000_000}
    assert stat["data-modification-timestamp"] == {"seconds": 2, "nanoseconds": 1}
    assert await root.stat_at(FOLLOW, "link") == stat
    assert (await root.stat_at(NONE, "link"))["type"] == "symbolic-link"
    os.utime(tmp_path / "f", ns=(-5, 0))
    assert (await file.stat())["data-access-timestamp"] is None
    file.drop()


async def test_setting_times(root: Descriptor, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to("f")
    at = Variant("timestamp", {"seconds": 7, "nanoseconds": 8})
    file = await opened(root, "f", NONE, BOTH)
    await file.set_times(at, Variant("no-change"))
    found = (tmp_path / "f").stat()
    assert found.st_atime_ns == 7_000_000_008
    assert found.st_mtime_ns > 10**18
    await root.set_times_at(FOLLOW, "link", NOW, at)
    found = (tmp_path / "f").stat()
    assert found.st_mtime_ns == 7_000_000_008
    assert found.st_atime_ns > 10**18
    await root.set_times_at(NONE, "link", at, at)
    assert (tmp_path / "link").lstat().st_mtime_ns == 7_000_000_008
    await refused(
        "invalid", file.set_times(NOW, Variant("timestamp", {"seconds": 2**64 - 1, "nanoseconds": 0}))
    )
    await refused("invalid", file.set_times(NOW, Variant("timestamp", {"seconds": 0, "nanoseconds": 10**9})))
    file.drop()


async def test_metadata_hash_tells_objects_apart_and_bears_writes(root: Descriptor, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "g").touch()
    (tmp_path / "link").symlink_to("f")
    file = await opened(root, "f", NONE, BOTH)
    first = file.metadata_hash()
    await file.write(b"x", 0)
    assert await root.metadata_hash_at(NONE, "f") == first == await root.metadata_hash_at(FOLLOW, "link")
    assert await root.metadata_hash_at(NONE, "g") != first
    assert await root.metadata_hash_at(NONE, "link") != first
    assert all(0 <= first[half] < 2**64 for half in ("lower", "upper"))
    file.drop()


# ---------------------------------------------------------------- cancelling


async def test_cancelled_calls_leave_no_descriptor(root: Descriptor, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_bytes(bytes(100_000))
    before = open_files(tmp_path)
    for turns in range(60):
        file = await opened(root, "f", NONE, BOTH)
        calls = (
            opened(root, "f"), opened(root, "new", CREATE, BOTH), root.read_directory(),
            file.write(bytes(99_999), 0), file.read(99_999, 0), root.stat_at(NONE, "d"),
        )  # fmt: skip
        tasks = [asyncio.ensure_future(call) for call in calls]
        for _ in range(turns % 6):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        file.drop()  # under the threads that may still use it
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Descriptor) or hasattr(result, "read_directory_entry"):
                cast(Any, result).drop()
        del tasks, calls, result
    with anyio.move_on_after(30):  # threads may still be at what was given up; a busy disk holds them up
        while open_files(tmp_path) != before:  # noqa: ASYNC110  and tell nobody
            await asyncio.sleep(0.01)
    assert open_files(tmp_path) == before
