"""Names that end in ``.``, ``..`` or a slash are refused, and taken, as the kernel does."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.filesystem import entries
from host_plugin_wasi.filesystem.handles import Handle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is compared with is Linux")

NONE: frozenset[str] = frozenset()
BASES = ("file", "dir", "full", "new", "tofile", "todir", "dangling", "dir/in", "missing/in", "file/in")
ENDS = ("", "/", "//", "/.", "/..", "/./", "/../")
PATHS = [base + end for base in BASES for end in ENDS] + [".", "./", "dir/../.", ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def fill(top: Path) -> Path:
    """Make one of each kind, two directories down: none of the paths leads out."""
    inside = top / "a"
    inside.mkdir(parents=True)
    for name in ("dir", "full"):
        (inside / name).mkdir()
    (inside / "full" / "x").write_bytes(b"")
    (inside / "file").write_bytes(b"file")
    for name, target in (("tofile", "file"), ("todir", "dir"), ("dangling", "nothing")):
        (inside / name).symlink_to(target)
    return inside


@contextmanager
def handle(path: Path) -> Iterator[Handle]:
    opened = entries.open_root(path, Allowance()).handle
    try:
        yield opened
    finally:
        opened.release()


def outcome(action: Callable[[], Any]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def tree(top: Path) -> list[tuple[str, str]]:
    return sorted(
        (str(p.relative_to(top)), "link" if p.is_symlink() else "dir" if p.is_dir() else "file")
        for p in top.rglob("*")
    )


def close(descriptor: int) -> None:
    os.close(descriptor)


def opened(h: Handle, path: str, how: set[str], follow: bool) -> None:
    entries.open_entry(h, path, follow, frozenset(how), frozenset({"write"})).handle.release()


ONE: dict[str, tuple[Callable[[Handle, str], Any], Callable[[int, str], Any]]] = {
    "mkdir": (entries.create_directory, lambda d, p: os.mkdir(p, dir_fd=d)),
    "rmdir": (entries.remove_directory, lambda d, p: os.rmdir(p, dir_fd=d)),
    "unlink": (entries.unlink, lambda d, p: os.unlink(p, dir_fd=d)),
    "symlink": (lambda h, p: entries.symlink(h, "file", p), lambda d, p: os.symlink("file", p, dir_fd=d)),
    "create": (
        lambda h, p: opened(h, p, {"create"}, follow=True),
        lambda d, p: close(os.open(p, os.O_WRONLY | os.O_CREAT, dir_fd=d)),
    ),
    "create anew": (
        lambda h, p: opened(h, p, {"create", "exclusive"}, follow=False),
        lambda d, p: close(os.open(p, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=d)),
    ),
    "open": (
        lambda h, p: opened(h, p, set(), follow=True),
        lambda d, p: close(os.open(p, os.O_WRONLY, dir_fd=d)),
    ),
    "stat": (
        lambda h, p: entries.stat_at(h, p, False),
        lambda d, p: os.stat(p, dir_fd=d, follow_symlinks=False),
    ),
    "readlink": (lambda h, p: entries.readlink(h, p), lambda d, p: os.readlink(p, dir_fd=d)),
    "link from": (
        lambda h, p: entries.link(h, p, False, h, "name"),
        lambda d, p: os.link(p, "name", src_dir_fd=d, dst_dir_fd=d, follow_symlinks=False),
    ),
    "link to": (
        lambda h, p: entries.link(h, "file", False, h, p),
        lambda d, p: os.link("file", p, src_dir_fd=d, dst_dir_fd=d, follow_symlinks=False),
    ),
}
for _name in ("file", "dir", "todir", "missing", "file/", "dir/", "todir/"):
    ONE[f"rename {_name} to"] = (
        lambda h, p, old=_name: entries.rename(h, old, h, p),  # type: ignore[misc]
        lambda d, p, old=_name: os.rename(old, p, src_dir_fd=d, dst_dir_fd=d),  # type: ignore[misc]
    )
for _name in ("name", "name/", "dir", "dir/", "file"):
    ONE[f"rename to {_name} from"] = (
        lambda h, p, new=_name: entries.rename(h, p, h, new),  # type: ignore[misc]
        lambda d, p, new=_name: os.rename(p, new, src_dir_fd=d, dst_dir_fd=d),  # type: ignore[misc]
    )


@pytest.mark.parametrize("operation", ONE)
def test_every_ending_of_a_path_is_answered_as_the_kernel_answers_it(operation: str, folder: Path) -> None:
    ours, kernels = ONE[operation]
    wrong = []
    for number, path in enumerate(PATHS):
        one, other = folder / f"{number}-ours", folder / f"{number}-kernel"
        with handle(fill(one)) as h:
            got = outcome(lambda h=h, path=path: ours(h, path))  # type: ignore[misc]
        with handle(fill(other)) as h, h as descriptor:
            want = outcome(lambda d=descriptor, path=path: kernels(d, path))  # type: ignore[misc]
        if (got, tree(one)) != (want, tree(other)):
            wrong.append(f"{operation} {path!r}: {got}, the kernel: {want}")
    assert not wrong, "\n".join(wrong)


def test_a_file_cannot_become_a_name_with_a_slash(folder: Path) -> None:
    with handle(fill(folder)) as h:
        for old, new in (("file", "new/"), ("file/", "new"), ("file/", "new/"), ("tofile", "new/")):
            with pytest.raises(NotADirectoryError):
                entries.rename(h, old, h, new)
        entries.rename(h, "dir/", h, "new/")
        assert (folder / "a" / "new").is_dir()
        assert (folder / "a" / "file").read_bytes() == b"file"
