"""Compiled code on disk.

An entry is machine code that will be run without another look, so it is used only from a directory that
nobody but us or root can write, and only if the file is what its name says, which ends in the SHA-256 of the
contents. Anything else (truncated, changed, from another wasmtime or another processor) is removed and made
anew. Entries appear whole, by a rename.

A cache saves work and is never needed: one that cannot be read, written or found costs one warning, and what
is in one that cannot be written, as in the image of a container, is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import wasmtime
from wasmtime.component import Component

from wasmplex.engine.settings import default_cache_dir
from wasmplex.logs import get_logger

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["CodeCache"]

_log = get_logger(__name__)

_FORMAT: Final = 1
_SUFFIX: Final = ".cwasm"
_NEW: Final = ".new-"
_ABANDONED: Final = 3600.0  # seconds after which a file that is still new is nobody's: its process was ended
_KEEP: Final = 64  # entries; a componentize-py component takes 32 MB
_LOCK_SECONDS: Final = 120.0
_OPEN: Final = "others may write it"
_SETTING: Final = '[engine] cache = "DIRECTORY"'


class CodeCache:
    """A directory of compiled components. All methods block; they are called in a worker thread.

    :param directory: None for the user's cache directory
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory if directory is not None else default_cache_dir()
        self._warned = False

    def load(self, name: str, engine: wasmtime.Engine) -> Component | None:
        """Return the component kept under a name, None if there is none that can be used."""
        directory = self._usable()
        if directory is None:
            return None
        for path in directory.glob(f"{_stem(name)}.*{_SUFFIX}"):
            if (component := self._load(path, engine)) is not None:
                return component
            _log.info("compiled code %s is damaged or foreign; it is made anew", path.name)
            with contextlib.suppress(OSError):
                path.unlink()
        return None

    def _load(self, path: Path, engine: wasmtime.Engine) -> Component | None:
        try:
            if path.name.split(".")[-2] != _sha256(path) or not _ours(path.stat()):
                return None
            component = _deserialized(engine, path)
        except (OSError, wasmtime.WasmtimeError):
            return None
        with contextlib.suppress(OSError):  # where it cannot be noted that it was used
            os.utime(path)
        return component

    def build(self, name: str, engine: wasmtime.Engine, make: Callable[[], Component]) -> Component:
        """Make a component and keep it, unless another process is making it: then wait, and take that one.

        :param make: compiles it; what it raises is raised here
        """
        directory = self._usable()
        if directory is None:
            return make()
        with _locked(directory / f".lock-{_stem(name)[:1]}") as waited:
            if waited and (found := self.load(name, engine)) is not None:
                return found
            component = make()
            self._store(directory, name, component)
            return component

    def _store(self, directory: Path, name: str, component: Component) -> None:
        code = component.serialize()
        target = directory / f"{_stem(name)}.{hashlib.sha256(code).hexdigest()}{_SUFFIX}"
        try:
            self._write(target, code)
            _prune(directory)
        except OSError as error:
            self._warn(f"compiled code cannot be kept in {directory}: {_reason(error)}")

    def _write(self, target: Path, code: bytearray) -> None:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_NEW)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(code)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def _usable(self) -> Path | None:
        """Return the directory if it may be used; warn once if not."""
        directory = self.directory
        if directory is None:
            self._warn(f"compiled code is not cached: there is no home directory; try: {_SETTING}")
            return None
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            reason = _reason_against(directory)
        except (OSError, ValueError) as error:
            reason = _reason(error)
        if not reason:
            return directory
        fix = f"chmod 700 {directory}, or {_SETTING}" if reason == _OPEN else _SETTING
        self._warn(f"compiled code is not cached: {directory} ({reason}); try: {fix}")
        return None

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("%s", text)


def _prune(directory: Path) -> None:
    """Remove the entries that were not used for longest, and what was never finished."""
    for path in directory.glob(f"{_NEW}*"):
        if path.stat().st_mtime < time.time() - _ABANDONED:
            path.unlink(missing_ok=True)
    entries = sorted(directory.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
    for path in entries[:-_KEEP]:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock between processes; yield whether it had to be waited for.

    Without locks on this system, or after `_LOCK_SECONDS`, go on without: the lock only saves work.
    """
    waited = False
    with contextlib.ExitStack() as stack:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                file = stack.enter_context(path.open("wb"))
                waited = _lock(file.fileno())
        yield waited


def _lock(file: int) -> bool:
    give_up = time.monotonic() + _LOCK_SECONDS
    waited = False
    while time.monotonic() < give_up:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            time.sleep(0.05)
        else:
            break
    return waited


def _deserialized(engine: wasmtime.Engine, path: Path) -> Component:
    """Return what is in a file, mapped if the file system lets its files be run (``noexec``), else copied."""
    try:
        return Component.deserialize_file(engine, str(path))
    except wasmtime.WasmtimeError:
        return Component.deserialize(engine, path.read_bytes())


def _stem(name: str) -> str:
    """Return the file name's first part: what the code is made from and for."""
    parts = (str(_FORMAT), version("wasmtime"), platform.system(), platform.machine(), name)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ours(status: os.stat_result) -> bool:
    """Tell whether only we or root can write what the status is of."""
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid in (0, os.getuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _reason_against(directory: Path) -> str:
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a directory"
    if not os.access(directory, os.R_OK | os.X_OK):
        return "it may not be read"
    return "" if _ours(status) else _OPEN


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
