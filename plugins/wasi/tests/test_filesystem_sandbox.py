"""No path leads out of a granted directory, and every path inside works as it does in the kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.filesystem import entries
from host_plugin_wasi.filesystem.errors import code
from host_plugin_wasi.filesystem.handles import Handle
from host_plugin_wasi.filesystem.paths import place
from hypothesis import example, given, settings
from hypothesis import strategies as st

SECRET = b"secret"

LINKS = {
    "rel": "a",
    "a/up": "..",
    "a/b/upup": "../..",
    "a/b/out": "../../..",
    "out": "../outside",
    "out2": "../outside/secret",
    "abs": "{outside}",
    "abs2": "{outside}/secret",
    "self": "self",
    "loop1": "loop2",
    "loop2": "loop1",
    "dangling": "nothing",
    "slash": "a/",
    "tofile": "a/f",
    "tofileslash": "a/f/",
    "chain": "rel/b/upup/a/up/tofile",
    "outin": "../inside/a",
    "proc": "/proc/self/root",
    "dot": ".",
}
NAMES = [
    *(name.rpartition("/")[2] for name in LINKS),
    "a",
    "b",
    "f",
    "new",
    "..",
    ".",
    "",
    "outside",
    "secret",
]

PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=8).map("/".join) | st.text(
    alphabet=st.sampled_from("ab./f\0é"), max_size=12
)


@contextmanager
def world() -> Iterator[Path]:
    """A directory ``inside`` with links of every kind, and a directory ``outside`` with the secret."""
    base = Path(tempfile.mkdtemp())
    try:
        (base / "outside").mkdir()
        (base / "outside" / "secret").write_bytes(SECRET)
        (base / "secret").write_bytes(SECRET)
        (base / "inside" / "a" / "b").mkdir(parents=True)
        (base / "inside" / "a" / "f").write_bytes(b"fine")
        for name, target in LINKS.items():
            (base / "inside" / name).symlink_to(target.format(outside=base / "outside"))
        yield base
    finally:
        shutil.rmtree(base)


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    with world() as base:
        yield base


@contextmanager
def root(base: Path) -> Iterator[Handle]:
    handle = entries.open_root(base / "inside", Allowance()).handle
    try:
        yield handle
    finally:
        handle.release()


class OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(directory: int, path: str) -> int:
    """Ask the kernel to do the same: RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS."""
    how = OpenHow(os.O_PATH | os.O_CLOEXEC, 0, 0x08 | 0x02)
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.syscall(437, directory, path.encode(), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def kernel(handle: Handle, path: str) -> entries.Identity | int:
    try:
        with handle as fd:
            found = openat2(fd, path)
    except OSError as error:
        return error.errno or 0
    with_status = os.fstat(found)
    os.close(found)
    return entries.Identity.of(with_status)


def ours(handle: Handle, path: str) -> entries.Identity | int:
    try:
        return entries.identity_at(handle, path, True)
    except OSError as error:
        return error.errno or 0


@settings(max_examples=1500, deadline=None)
@given(path=PATHS)
@example(path="a/b/out/outside/secret")
@example(path="chain")
@example(path="a/../../inside/a")
@example(path="rel/b/../../tofile")
@example(path="dot/" * 39 + "a")
@example(path="dot/" * 41 + "a")
def test_paths_resolve_as_the_kernel_resolves_them_beneath_a_directory(base: Path, path: str) -> None:
    if "\0" in path:
        return
    with root(base) as handle:
        expected = kernel(handle, path)
        if expected == errno.ENOSYS:
            pytest.skip("this kernel has no openat2")
        if expected == errno.EXDEV:  # "leads out" has a name of its own there
            expected = errno.EPERM
        assert ours(handle, path) == expected


@settings(max_examples=300, deadline=None)
@given(path=PATHS, other=PATHS, follow=st.booleans(), data=st.data())
def test_nothing_outside_is_seen_or_changed(path: str, other: str, follow: bool, data: st.DataObject) -> None:
    operations: dict[str, Callable[..., Any]] = {
        "create_directory": lambda h: entries.create_directory(h, path),
        "remove_directory": lambda h: entries.remove_directory(h, path),
        "unlink": lambda h: entries.unlink(h, path),
        "rename": lambda h: entries.rename(h, path, h, other),
        "link": lambda h: entries.link(h, path, follow, h, other),
        "symlink": lambda h: entries.symlink(h, path, other),
        "readlink": lambda h: entries.readlink(h, path),
        "create": lambda h: entries.open_entry(
            h, path, follow, frozenset({"create", "truncate"}), frozenset({"read", "write"})
        ).handle.release(),
        "read": lambda h: read(h, other, follow),
    }
    chosen = data.draw(st.lists(st.sampled_from(sorted(operations)), min_size=1, max_size=4))
    with world() as base:
        before = outside(base)
        with root(base) as handle:
            for name in chosen:
                with suppress(OSError):
                    result = operations[name](handle)
                    assert result != SECRET
                    assert not (isinstance(result, str) and result.startswith("/"))
        assert outside(base) == before


def read(handle: Handle, path: str, follow: bool) -> bytes:
    opened = entries.open_entry(handle, path, follow, frozenset(), frozenset({"read"}))
    try:
        return entries.read(opened.handle, 100, 0) if opened.identity.kind == "regular-file" else b""
    finally:
        opened.handle.release()


def outside(base: Path) -> object:
    (base / "inside").stat()
    seen = {str(p): p.read_bytes() for p in sorted((base / "outside").rglob("*"))}
    return seen, sorted(p.name for p in base.iterdir()), (base / "secret").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "..", "../", "../secret", "/", "/etc/passwd", "//", "a/../../secret", "a/b/../../..", "out", "out/",
        "out/secret", "abs", "abs2", "abs/secret", "a/b/out", "a/up/../secret", "outin", "outin/f",
        "rel/../../secret", "proc", "proc/etc/passwd", "dot/../secret", "./../secret",
    ],
)  # fmt: skip
def test_escapes_are_refused_by_every_operation(base: Path, path: str) -> None:
    with root(base) as handle:
        attempts: dict[str, Callable[[], object]] = {
            "stat": lambda: entries.stat_at(handle, path, True),
            "open": lambda: entries.open_entry(handle, path, True, frozenset(), frozenset({"read"})),
            "hash": lambda: entries.identity_at(handle, path, True),
            "link": lambda: entries.link(handle, path, True, handle, "stolen"),
            "mkdir": lambda: entries.create_directory(handle, f"{path}/new"),
            "rename": lambda: entries.rename(handle, "a/f", handle, f"{path}/new"),
            "symlink": lambda: entries.symlink(handle, "a", f"{path}/new"),
            "create": lambda: entries.open_entry(
                handle, f"{path}/new", True, frozenset({"create"}), frozenset({"write"})
            ),
        }
        for name, attempt in attempts.items():
            with pytest.raises(OSError) as caught:
                attempt()
            assert code(caught.value) == "not-permitted", name


def test_absolute_links_are_neither_shown_nor_made(base: Path) -> None:
    with root(base) as handle:
        for attempt in (
            lambda: entries.readlink(handle, "abs"),
            lambda: entries.symlink(handle, "/etc", "new"),
        ):
            with pytest.raises(PermissionError):
                attempt()
        assert entries.readlink(handle, "out") == "../outside"  # relative ones are data


def test_one_directory_is_open_however_deep_and_winding_the_path(base: Path) -> None:
    with root(base) as handle, handle as fd:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with place(fd, "a/b/../b/upup/a/b/../../a/b/x") as found:
            assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
            assert found.name == b"x"
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_work_for_one_path_is_bounded(base: Path) -> None:
    deep = base / "inside" / "/".join(["d"] * 500)
    deep.mkdir(parents=True)
    with root(base) as handle:
        entries.stat_at(handle, "/".join(["d"] * 500), False)
        with pytest.raises(OSError) as caught:
            entries.stat_at(handle, "/".join(["d"] * 490 + ["..", "d"] * 400), False)
        assert code(caught.value) == "loop"


def test_racing_links_lead_nowhere() -> None:
    with world() as base:
        inside = base / "inside"
        (inside / "real").mkdir()
        (inside / "real" / "secret").write_bytes(b"fine")
        (inside / "evil").symlink_to("../outside")
        (inside / "evil2").symlink_to(base / "outside")
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                for name in ("real", "evil", "real", "evil2"):
                    if name != "real":
                        (inside / "d").symlink_to((inside / name).readlink())
                        (inside / "d").unlink()
                    else:
                        (inside / "real").rename(inside / "d")
                        (inside / "d").rename(inside / "real")

        thread = threading.Thread(target=swap)
        thread.start()
        outcomes: set[bytes | str] = set()
        try:
            with root(base) as handle:
                for turn in range(500_000):
                    if turn > 4000 and {b"fine", "not-permitted"} <= outcomes:
                        break
                    try:
                        outcomes.add(read(handle, "d/secret", True))
                    except OSError as error:
                        outcomes.add(code(error))
        finally:
            stop.set()
            thread.join()
        assert SECRET not in outcomes
        assert outcomes <= {b"fine", "no-entry", "not-permitted", "not-directory", "loop"}
        assert {b"fine", "not-permitted"} <= outcomes  # the race was run


def test_a_directory_moved_out_while_walked_has_no_parent_to_go_to() -> None:
    with world() as base, root(base) as handle, handle as fd:
        (base / "inside" / "m" / "n").mkdir(parents=True)
        with place(fd, "m/n/x") as found:
            (base / "inside" / "m" / "n").rename(base / "outside" / "n")
            inner = Handle(Allowance(), os.dup, found.directory)
            with pytest.raises(PermissionError):
                entries.stat_at(inner, "../secret", False)
            inner.release()
