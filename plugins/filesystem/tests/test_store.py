"""What only a directory can do: links, other processes, what is on disk, full disks."""

# ruff: noqa: ASYNC240  what is in the directory is what is tested

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import anyio
import pytest
from host_plugin_filesystem import FilesystemProvider, FilesystemSettings, transfers
from host_plugin_filesystem.listing import Windows
from host_plugin_filesystem.store import FilesystemBackend
from wasmplex.blocking import MOST
from wasmplex.capabilities.blobstore import (
    BlobStoreError,
    Container,
    NoSuchContainer,
    NoSuchObject,
    ObjectId,
    Other,
    QuotaExceeded,
    Steps,
    StoreUnavailable,
)
from wasmplex.plugin import BackendError, OpenContext

pytestmark = pytest.mark.anyio

NAMESPACE = "photos/originals"


async def open_store(base: Path, path: str = "blobs", *, create: bool = True) -> FilesystemBackend:
    settings = FilesystemSettings(path=Path(path), create=create)
    return await FilesystemProvider().open(settings, OpenContext(base=base))


async def put(container: Container, name: str, data: bytes) -> None:
    writer = await container.write_object(name)
    try:
        if data:
            await writer.write(data)
        await writer.commit()
    finally:
        await writer.close()


async def get(container: Container, name: str) -> bytes:
    reader = await container.read_object(name, 0, None)
    try:
        data = b""
        while piece := await reader.read():
            data += piece
        return data
    finally:
        await reader.close()


def files(folder: Path) -> set[str]:
    """Return the paths of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesystemBackend]:
    backend = await open_store(tmp_path)
    yield backend
    await backend.close()


@pytest.fixture
async def container(store: FilesystemBackend) -> Container:
    return await store.create_container(NAMESPACE, "jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the directory of the container."""
    return tmp_path / "blobs" / "photos%2Foriginals" / "jpg"


# ---------------------------------------------------------------- what is on disk


async def test_what_is_on_disk(container: Container, folder: Path) -> None:
    await put(container, "photo-1.jpg", b"1")
    await put(container, "../x", b"2")
    await put(container, "n" * 1024, b"3")
    short = {path for path in files(folder) if "/" not in path}
    assert short == {"photo-1.jpg", "%2E.%2Fx", ".container"}
    assert (folder / "photo-1.jpg").read_bytes() == b"1"
    assert all(len(part) <= 240 for path in files(folder) for part in Path(path).parts)


async def test_directories_of_long_names_go_with_the_object(container: Container, folder: Path) -> None:
    await put(container, "n" * 1024, b"")
    await put(container, "n" * 1023 + "m", b"")
    await container.delete_object("n" * 1024)
    assert await container.has_object("n" * 1023 + "m")
    await container.delete_object("n" * 1023 + "m")
    assert [path.name for path in folder.iterdir()] == [".container"]


async def test_what_others_put_there(container: Container, folder: Path) -> None:
    (folder / "by-hand.jpg").write_bytes(b"hand")
    (folder / "not one of ours").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"")
    os.close(os.open(os.fsencode(folder) + b"/\xff\xfe", os.O_CREAT))
    (folder / "directory").mkdir()
    (folder / "way%+").mkdir()
    assert (await container.list_objects(None, 10)).names == ["by-hand.jpg"]
    assert await get(container, "by-hand.jpg") == b"hand"
    with pytest.raises(NoSuchObject):
        await container.object_info("directory")
    with pytest.raises(Other, match="no object is in its place"):
        await put(container, "directory", b"")


async def test_a_container_that_others_made(store: FilesystemBackend, folder: Path) -> None:
    folder.mkdir(parents=True)
    container = await store.get_container(NAMESPACE, "jpg")
    await put(container, "a", b"1")
    assert (await container.info()).created_at > 10**18


# ---------------------------------------------------------------- links

LINKS: dict[str, Callable[[Path, Path], None]] = {
    "to a file": lambda place, outside: place.symlink_to(outside / "secret"),
    "to a directory": lambda place, outside: place.symlink_to(outside),
    "to nothing": lambda place, outside: place.symlink_to(outside / "nothing"),
    "to itself": lambda place, outside: place.symlink_to(place),
    "relative": lambda place, outside: place.symlink_to(Path(*[".."] * 4, outside.name, "secret")),
    "a queue": lambda place, outside: os.mkfifo(place),
    "a socket": lambda place, outside: _socket(place),
}


def _socket(place: Path) -> None:
    here = Path.cwd()
    os.chdir(place.parent)  # the paths of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(place.name)
    finally:
        os.chdir(here)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a directory that nobody may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


@pytest.mark.parametrize("kind", LINKS)
async def test_what_is_planted_is_no_object(
    kind: str, store: FilesystemBackend, container: Container, folder: Path, outside: Path
) -> None:
    LINKS[kind](folder / "planted", outside)
    await put(container, "own", b"own")
    assert (await container.list_objects(None, 10)).names == ["own"]
    with pytest.raises(NoSuchObject):
        await get(container, "planted")
    with pytest.raises(NoSuchObject):
        await container.object_info("planted")
    for operation in (store.copy_object, store.move_object):
        with pytest.raises(NoSuchObject):
            async for _ in operation(NAMESPACE, ObjectId("jpg", "planted"), ObjectId("jpg", "new")):
                pass
    await container.delete_object("planted")
    async for _ in container.clear():
        pass
    await put(container, "planted", b"an object")
    assert await get(container, "planted") == b"an object"
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret": b"secret"}


@pytest.mark.parametrize("name", ["photos%2Foriginals", "photos%2Foriginals/jpg"])
async def test_a_link_in_the_place_of_a_directory(
    name: str, store: FilesystemBackend, tmp_path: Path, outside: Path
) -> None:
    place = tmp_path / "blobs" / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    (outside / "jpg").mkdir()
    with pytest.raises(NoSuchContainer):
        await store.get_container(NAMESPACE, "jpg")
    with pytest.raises(Other, match="no container is in its place"):
        await store.create_container(NAMESPACE, "jpg")
    async for _ in store.delete_container(NAMESPACE, "jpg"):
        pass
    assert files(outside) == {"secret"}
    assert place.is_symlink()


async def test_a_link_on_the_way_of_a_long_name(container: Container, folder: Path, outside: Path) -> None:
    await put(container, "n" * 1024, b"1")
    way = next(path for path in folder.iterdir() if path.is_dir())
    way.rename(outside / "moved")
    way.symlink_to(outside / "moved")
    with pytest.raises(NoSuchObject):
        await get(container, "n" * 1024)
    with pytest.raises(Other, match="no object is in its place"):
        await put(container, "n" * 1024, b"2")
    assert (await container.list_objects(None, 10)).names == []


async def test_a_link_in_the_place_of_staging(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / ".staging").symlink_to(outside)
    with pytest.raises(BackendError, match="cannot open the directory"):
        await open_store(tmp_path)
    assert files(outside) == {"secret"}


async def test_the_directory_itself_may_be_a_link(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    backend = await open_store(tmp_path, "link")
    await backend.create_container(NAMESPACE, "jpg")
    await backend.close()
    assert (outside / "photos%2Foriginals" / "jpg").is_dir()


# ---------------------------------------------------------------- other processes

KILLED = """
import asyncio, sys
from pathlib import Path
from host_plugin_filesystem import FilesystemProvider, FilesystemSettings
from wasmplex.plugin import OpenContext

async def main():
    base = Path(sys.argv[1])
    store = await FilesystemProvider().open(FilesystemSettings(path=Path("blobs")), OpenContext(base=base))
    container = await store.get_container("photos/originals", "jpg")
    writer = await container.write_object("a")
    await writer.write(b"x" * 1000)
    print("written", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@contextmanager
def another_host(base: Path):  # type: ignore[no-untyped-def]
    """Have another process write half an object."""
    command = [sys.executable, "-c", KILLED, str(base)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        yield process
        process.kill()


async def test_what_a_killed_host_leaves_is_removed(
    container: Container, store: FilesystemBackend, tmp_path: Path
) -> None:
    await put(container, "a", b"old")
    with another_host(tmp_path) as other:
        alive = await open_store(tmp_path)  # another one that writes keeps its files
        await alive.close()
        assert len(files(tmp_path / "blobs" / ".staging")) == 1
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert len(files(tmp_path / "blobs" / ".staging")) == 1
    after = await open_store(tmp_path)
    assert files(tmp_path / "blobs" / ".staging") == set()
    assert await get(container, "a") == b"old"
    await after.close()


async def test_several_open_and_close_one_directory(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            backend = await open_store(tmp_path)
            stack.push_async_callback(backend.close)
    assert files(tmp_path / "blobs") == set()
    assert list((tmp_path / "blobs" / ".staging").iterdir()) == []


async def test_closing_removes_what_is_being_written(tmp_path: Path) -> None:
    backend = await open_store(tmp_path)
    writer = await (await backend.create_container(NAMESPACE, "jpg")).write_object("a")
    await writer.write(b"1")
    await backend.close()
    assert list((tmp_path / "blobs" / ".staging").iterdir()) == []
    with pytest.raises(BlobStoreError):
        await writer.commit()
    await writer.close()


async def test_what_was_being_written_goes_when_a_thread_is_free(
    store: FilesystemBackend, container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes it waits for some time, and not for that."""
    monkeypatch.setattr(transfers, "_CLOSING", 0.01)
    writer = await container.write_object("a")
    await writer.write(b"1")
    held = threading.Event()
    busy = [store._threads.start(held.wait) for _ in range(MOST)]
    await writer.close()
    held.set()
    await asyncio.wait(busy)
    with anyio.fail_after(20):
        while files(tmp_path / "blobs" / ".staging"):  # noqa: ASYNC110  it is the file system that is waited for
            await anyio.sleep(0.01)


# ---------------------------------------------------------------- what goes wrong


async def test_a_directory_that_is_gone(
    store: FilesystemBackend, container: Container, tmp_path: Path
) -> None:
    await put(container, "a", b"1")
    writer = await container.write_object("a")
    (tmp_path / "blobs").rename(tmp_path / "moved")
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await writer.commit()
    await writer.close()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await store.create_container(NAMESPACE, "png")
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await store.probe()
    (tmp_path / "moved").rename(tmp_path / "blobs")
    await store.probe()
    assert await get(container, "a") == b"1"


@pytest.mark.parametrize("instead", ["another directory", "a file", "nothing"])
async def test_a_directory_in_whose_place_is_something_else(tmp_path: Path, instead: str) -> None:
    """What would be read and changed is another store, a disk that was unmounted say: nobody is told that
    something was done there.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    store = await open_store(tmp_path, "disk/blobs")
    container = await store.create_container(NAMESPACE, "jpg")
    await put(container, "a", b"1")
    disk.rename(tmp_path / "moved")
    if instead == "another directory":
        (disk / "blobs").mkdir(parents=True)
    elif instead == "a file":
        disk.touch()
    here, there = ObjectId("jpg", "a"), ObjectId("jpg", "b")

    async def step(steps: Steps) -> None:
        async for _ in steps:
            pass

    for attempt in (
        container.read_object("a", 0, None), container.object_info("a"), container.has_object("a"),
        container.list_objects(None, 10), container.info(), container.write_object("b"),
        container.delete_object("a"), container.delete_objects(["a"]), step(container.clear()),
        step(store.move_object(NAMESPACE, here, there)), step(store.copy_object(NAMESPACE, here, there)),
        step(store.delete_container(NAMESPACE, "jpg")), store.create_container(NAMESPACE, "png"),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await attempt
    assert (tmp_path / "moved/blobs/photos%2Foriginals/jpg/a").read_bytes() == b"1"
    await store.close()


async def test_a_file_that_may_not_grow(container: Container) -> None:
    await put(container, "a", b"old")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(QuotaExceeded):
            await put(container, "a", b"n" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert await get(container, "a") == b"old"
    assert (await container.list_objects(None, 10)).names == ["a"]


async def test_a_file_that_is_cut_short_while_it_is_read(container: Container, folder: Path) -> None:
    await put(container, "a", b"x" * 1_000_000)
    reader = await container.read_object("a", 0, None)
    await reader.read()
    os.truncate(folder / "a", 10)
    with pytest.raises(StoreUnavailable, match="cut short"):
        await reader.read()
    await reader.close()


async def test_pages_of_more_names_than_are_read_ahead(
    store: FilesystemBackend, container: Container
) -> None:
    store._disk.windows._size = 10
    names = {f"{n:03}" for n in range(45)} | {"n" * 1000 + str(n) for n in range(5)}
    for name in names:
        await put(container, name, b"")
    found: list[str] = []
    cursor = None
    while True:
        page = await container.list_objects(cursor, 4)
        found += page.names
        if (cursor := page.cursor) is None:
            break
    assert len(found) == len(names)
    assert {*found} == names


async def test_names_that_are_read_ahead_take_no_more_memory_than_they_may(
    store: FilesystemBackend, container: Container
) -> None:
    """Whoever begins to list and goes on with something else has long names kept for each time."""
    windows = store._disk.windows = Windows(most=25_000)
    for number in range(10):
        await put(container, f"{number}{'n' * 999}", b"")
    cursors = [(await container.list_objects(None, limit)).cursor for limit in range(1, 9)]
    assert 0 < windows.size <= 25_000
    assert [len((await container.list_objects(cursor, 10)).names) for cursor in cursors] == [*range(9, 1, -1)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot open the directory"),
        (lambda path: path.symlink_to("nothing"), "cannot open the directory"),
    ],
)
async def test_what_is_no_directory(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(tmp_path / "blobs")
    with pytest.raises(BackendError, match=message):
        await open_store(tmp_path)


async def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="create is false"):
        await open_store(tmp_path, create=False)
    with pytest.raises(BackendError, match="no such file"):
        await open_store(tmp_path, "missing/blobs")
