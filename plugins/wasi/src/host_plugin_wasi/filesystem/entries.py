"""The operations of ``wasi:filesystem`` as plain blocking functions on file descriptors and paths."""

from __future__ import annotations

import errno
import os
import stat as modes
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from wasmplex.plugin import Variant

from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.filesystem.handles import Handle
from host_plugin_wasi.filesystem.paths import PATH_LIMIT, Entry, entry, fail, place

__all__ = [
    "Identity", "Opened", "advise", "append", "create_directory", "identity_at", "kind", "link",
    "open_entry", "open_root", "read", "read_cached", "readlink", "remove_directory", "rename", "resize",
    "set_times", "set_times_at", "stat", "stat_at", "symlink", "sync", "sync_data", "unlink", "write",
]  # fmt: skip

_SECOND = 1_000_000_000
# Never wait for a FIFO's other end, never become a terminal's session leader.
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (modes.S_ISREG, "regular-file"),
    (modes.S_ISDIR, "directory"),
    (modes.S_ISLNK, "symbolic-link"),
    (modes.S_ISCHR, "character-device"),
    (modes.S_ISBLK, "block-device"),
    (modes.S_ISFIFO, "fifo"),
    (modes.S_ISSOCK, "socket"),
)

_SYNC = {
    "file-integrity-sync": os.O_SYNC,
    "data-integrity-sync": os.O_DSYNC,
    "requested-write-sync": getattr(os, "O_RSYNC", os.O_SYNC),
}


def kind(mode: int) -> str:
    """Return the WIT ``descriptor-type`` for a ``st_mode``."""
    return next((name for test, name in _KINDS if test(mode)), "unknown")


class Identity(NamedTuple):
    """What tells one file-system object from every other."""

    device: int
    inode: int
    kind: str

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        """Return the identity of what was looked at."""
        return cls(found.st_dev, found.st_ino, kind(found.st_mode))

    def metadata_hash(self) -> dict[str, int]:
        """Return a WIT ``metadata-hash-value``: the same for the same object, whatever is written to it."""
        digest = blake2b(f"{self.device}:{self.inode}".encode(), digest_size=16, person=b"wasi:filesystem")
        bits = digest.digest()
        return {"lower": int.from_bytes(bits[:8], "little"), "upper": int.from_bytes(bits[8:], "little")}


class Opened(NamedTuple):
    """A newly opened object, with one holder: the caller."""

    handle: Handle
    identity: Identity


# ---------------------------------------------------------------- opening


def open_root(path: str | os.PathLike[str], allowance: Allowance) -> Opened:
    """Open a directory that the configuration grants. Links on the way to it are the operator's.

    :param allowance: what everything opened below it is counted in, too
    """
    return _opened(Handle(allowance, os.open, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def open_entry(start: Handle, path: str, follow: bool, how: frozenset[str], access: frozenset[str]) -> Opened:
    """Open or make what `path` names.

    :param how: WIT ``open-flags``
    :param access: WIT ``descriptor-flags``
    """
    changes = how & {"create", "exclusive", "truncate"}
    if "directory" in how and changes:
        raise OSError(errno.EINVAL, "a directory cannot be made or truncated by opening it")
    flags = _open_flags(how, access, bool(changes))
    follow = follow and "exclusive" not in how
    with start as fd:
        if flags & os.O_CREAT and path.endswith(("/", ".")):
            _refuse_to_create(fd, path, flags)
        with place(fd, path, follow=follow) as (directory, name):
            return _opened(Handle(start.allowance, os.open, name, flags, 0o666, dir_fd=directory))


def _refuse_to_create(start: int, path: str, flags: int) -> None:
    """Refuse a path that can only name a directory, as Linux does."""
    with entry(start, path) as found:
        if found.dots:
            raise fail(errno.EEXIST if flags & os.O_EXCL else errno.EISDIR)
        if found.slash:
            raise fail(errno.EISDIR)


def _open_flags(how: frozenset[str], access: frozenset[str], changes: bool) -> int:
    flags = _OPEN
    if "write" in access or changes:
        flags |= os.O_RDWR if "read" in access else os.O_WRONLY
    if "directory" in how:
        flags |= os.O_DIRECTORY
    if "create" in how or "exclusive" in how:
        flags |= os.O_CREAT
    if "exclusive" in how:
        flags |= os.O_EXCL
    if "truncate" in how:
        flags |= os.O_TRUNC
    for name, flag in _SYNC.items():
        if name in access:
            flags |= flag
    return flags


def _opened(handle: Handle) -> Opened:
    with handle as fd:
        return Opened(handle, Identity.of(os.fstat(fd)))


# ---------------------------------------------------------------- contents


def read(handle: Handle, length: int, offset: int) -> bytes:
    """Read at most `length` bytes; ``b""`` at the end of the file."""
    with handle as fd:
        return os.pread(fd, length, offset)


def read_cached(handle: Handle, length: int, offset: int) -> bytes | None:
    """Read without waiting for a device, None if that cannot be had."""
    if not hasattr(os, "RWF_NOWAIT"):
        return None
    buffer = bytearray(length)
    try:
        with handle as fd:
            count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except (OSError, OverflowError):
        return None
    return bytes(memoryview(buffer)[:count])


def write(handle: Handle, contents: bytes, offset: int) -> int:
    """Write all of `contents`, or as much as there is room for; return how many bytes."""
    with handle as fd:
        return _all(lambda rest, done: os.pwrite(fd, rest, offset + done), contents)


def append(handle: Handle, contents: bytes) -> int:
    """Write at the end of the file, wherever others have moved it."""
    with handle as fd:
        return _all(lambda rest, done: _append(fd, rest), contents)


def _append(fd: int, rest: memoryview) -> int:
    if hasattr(os, "RWF_APPEND"):
        try:
            return os.pwritev(fd, [rest], 0, os.RWF_APPEND)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOSYS):
                raise
    return os.pwrite(fd, rest, os.fstat(fd).st_size)


def _all(put: Callable[[memoryview, int], int], contents: bytes) -> int:
    done = 0
    rest = memoryview(contents)
    while rest:
        try:
            count = put(rest, done)
        except OSError:
            if done:
                return done
            raise
        done += count
        rest = rest[count:]
    return done


def resize(handle: Handle, size: int) -> None:
    """Cut the file, or extend it by zeroes."""
    with handle as fd:
        os.ftruncate(fd, size)


def advise(handle: Handle, offset: int, length: int, advice: str) -> None:
    """Tell the system how the file will be read; a system that cannot be told needs no telling."""
    number = getattr(os, f"POSIX_FADV_{advice.replace('-', '').upper()}", None)
    if number is not None:
        with handle as fd:
            os.posix_fadvise(fd, offset, length, number)


def sync(handle: Handle) -> None:
    """Bring contents and attributes to the disk."""
    with handle as fd:
        os.fsync(fd)


def sync_data(handle: Handle) -> None:
    """Bring contents to the disk."""
    with handle as fd:
        getattr(os, "fdatasync", os.fsync)(fd)


# ---------------------------------------------------------------- attributes


def _datetime(nanoseconds: int) -> dict[str, int] | None:
    if nanoseconds < 0:
        return None
    seconds, rest = divmod(nanoseconds, _SECOND)
    return {"seconds": seconds, "nanoseconds": rest}


def _record(found: os.stat_result) -> dict[str, Any]:
    return {
        "type": kind(found.st_mode),
        "link-count": found.st_nlink,
        "size": found.st_size,
        "data-access-timestamp": _datetime(found.st_atime_ns),
        "data-modification-timestamp": _datetime(found.st_mtime_ns),
        "status-change-timestamp": _datetime(found.st_ctime_ns),
    }


def stat(handle: Handle) -> dict[str, Any]:
    """Return the WIT ``descriptor-stat`` of what is open."""
    with handle as fd:
        return _record(os.fstat(fd))


def stat_at(start: Handle, path: str, follow: bool) -> dict[str, Any]:
    """Return the WIT ``descriptor-stat`` of what `path` names."""
    return _record(_lstat(start, path, follow))


def identity_at(start: Handle, path: str, follow: bool) -> Identity:
    """Return the identity of what `path` names."""
    return Identity.of(_lstat(start, path, follow))


def _lstat(start: Handle, path: str, follow: bool) -> os.stat_result:
    with start as fd, place(fd, path, follow=follow) as (directory, name):
        return os.stat(name, dir_fd=directory, follow_symlinks=False)


def set_times(handle: Handle, access: Variant, modification: Variant) -> None:
    """Set both times; each is a WIT ``new-timestamp``."""
    with handle as fd:
        os.utime(fd, ns=_times(os.fstat(fd), access, modification))


def set_times_at(start: Handle, path: str, follow: bool, access: Variant, modification: Variant) -> None:
    """Set both times of what `path` names."""
    with start as fd, place(fd, path, follow=follow) as (directory, name):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        times = _times(found, access, modification)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _times(found: os.stat_result, access: Variant, modification: Variant) -> tuple[int, int]:
    return _time(access, found.st_atime_ns), _time(modification, found.st_mtime_ns)


def _time(new: Variant, old: int) -> int:
    if new.tag == "no-change":
        return old
    if new.tag == "now":
        return time.time_ns()
    when: Mapping[str, int] = new.value
    if when["nanoseconds"] >= _SECOND:
        raise OSError(errno.EINVAL, "a nanosecond part of a second or more")
    return when["seconds"] * _SECOND + when["nanoseconds"]


# ---------------------------------------------------------------- names


def create_directory(start: Handle, path: str) -> None:
    """Make a directory."""
    with start as fd, entry(fd, path) as new:
        if new.dots:
            raise fail(errno.EEXIST)
        os.mkdir(new.name, dir_fd=new.directory)


def remove_directory(start: Handle, path: str) -> None:
    """Remove an empty directory."""
    with start as fd, entry(fd, path) as old:
        if old.dots:
            raise fail(errno.EINVAL if old.dots == b"." else errno.ENOTEMPTY)
        os.rmdir(old.name, dir_fd=old.directory)


def unlink(start: Handle, path: str) -> None:
    """Remove anything but a directory."""
    with start as fd, entry(fd, path) as old:
        if old.dots:
            raise fail(errno.EISDIR)
        if old.slash and (directory := old.is_directory) is not None:
            raise fail(errno.EISDIR if directory else errno.ENOTDIR)
        os.unlink(old.name, dir_fd=old.directory)


def rename(start: Handle, path: str, new_start: Handle, new_path: str) -> None:
    """Move an entry, replacing what is in its new place. A slash behind either name is for directories."""
    with (
        start as fd,
        new_start as new_fd,
        entry(fd, path) as old,
        entry(new_fd, new_path) as new,
    ):
        if old.dots or new.dots:
            raise fail(errno.EBUSY)
        if (old.slash or new.slash) and old.is_directory is False:
            raise fail(errno.ENOTDIR)
        os.rename(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory)


def link(start: Handle, path: str, follow: bool, new_start: Handle, new_path: str) -> None:
    """Give a file one more name."""
    with (
        start as fd,
        new_start as new_fd,
        place(fd, path, follow=follow) as (directory, name),
        entry(new_fd, new_path) as new,
    ):
        os.stat(name, dir_fd=directory, follow_symlinks=False)  # that it is missing is said first
        _refuse_other_than_file(new)
        os.link(name, new.name, src_dir_fd=directory, dst_dir_fd=new.directory, follow_symlinks=False)


def symlink(start: Handle, target: str, path: str) -> None:
    """Make a symbolic link; one to an absolute path could not be followed and is refused."""
    if target.startswith("/"):
        raise OSError(errno.EPERM, "an absolute link")
    if len(target) > PATH_LIMIT:
        raise fail(errno.ENAMETOOLONG)
    if "\0" in target:
        raise OSError(errno.EINVAL, "a NUL in a link")
    with start as fd, entry(fd, path) as new:
        _refuse_other_than_file(new)
        os.symlink(target.encode(), new.name, dir_fd=new.directory)


def _refuse_other_than_file(new: Entry) -> None:
    """Refuse the name of a new file or link that only a directory can have."""
    if new.dots or (new.slash and new.is_directory is not None):
        raise fail(errno.EEXIST)
    if new.slash:
        raise fail(errno.ENOENT)


def readlink(start: Handle, path: str) -> str:
    """Return where a symbolic link points, unless that is an absolute path: those are the host's."""
    with start as fd, place(fd, path) as (directory, name):
        target = os.readlink(name, dir_fd=directory)
    if target.startswith(b"/"):
        raise OSError(errno.EPERM, "an absolute link")
    try:
        return target.decode()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "a link that is not UTF-8") from None
