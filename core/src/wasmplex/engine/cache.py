"""Compiled code on disk.

An entry is machine code that will be run without another look, so it is used only from a directory that
nobody but us can write, and only if the file is what its name says, which ends in the SHA-256 of the
contents. Anything else (truncated, changed, from another wasmtime or another processor) is removed and made
anew. Entries appear whole, by a rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
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

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["CodeCache"]

_log = logging.getLogger(__name__)

_FORMAT: Final = 1
_SUFFIX: Final = ".cwasm"
_KEEP: Final = 64  # entries; a componentize-py component takes 32 MB
_LOCK_SECONDS: Final = 120.0


class CodeCache:
    """A directory of compiled components. All methods block; they are called in a worker thread.

    :param directory: None for the user's cache directory
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory if directory is not None else default_cache_dir()
        self._warned = False

    def load(self, name: str, engine: wasmtime.Engine) -> Component | None:
        """Return the component kept under a name, None if there is none that can be used."""
        if not self._usable():
            return None
        for path in self.directory.glob(f"{_stem(name)}.*{_SUFFIX}"):
            if (component := self._load(path, engine)) is not None:
                return component
            _log.info("compiled code %s is damaged or foreign; it is made anew", path.name)
            path.unlink(missing_ok=True)
        return None

    def _load(self, path: Path, engine: wasmtime.Engine) -> Component | None:
        try:
            if path.name.split(".")[-2] != _sha256(path) or not _ours(path.stat()):
                return None
            component = Component.deserialize_file(engine, str(path))
            os.utime(path)
        except (OSError, wasmtime.WasmtimeError):
            return None
        return component

    def build(self, name: str, engine: wasmtime.Engine, make: Callable[[], Component]) -> Component:
        """Make a component and keep it, unless another process is making it: then wait, and take that one.

        :param make: compiles it; what it raises is raised here
        """
        if not self._usable():
            return make()
        with _locked(self.directory / f".lock-{_stem(name)[:1]}") as waited:
            if waited and (found := self.load(name, engine)) is not None:
                return found
            component = make()
            self._store(name, component)
            return component

    def _store(self, name: str, component: Component) -> None:
        code = component.serialize()
        target = self.directory / f"{_stem(name)}.{hashlib.sha256(code).hexdigest()}{_SUFFIX}"
        try:
            self._write(target, code)
            self._prune()
        except OSError as error:
            _log.warning("compiled code cannot be kept in %s: %s", self.directory, error.strerror)

    def _write(self, target: Path, code: bytearray) -> None:
        handle, name = tempfile.mkstemp(dir=self.directory, prefix=".new-")
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

    def _prune(self) -> None:
        """Remove the entries that were not used for longest."""
        entries = sorted(self.directory.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in entries[:-_KEEP]:
            path.unlink(missing_ok=True)

    def _usable(self) -> bool:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            reason = _reason_against(self.directory)
        except OSError as error:
            reason = f"{error.strerror}"
        if reason and not self._warned:
            self._warned = True
            _log.warning(
                "compiled code is not cached: %s (%s); try: chmod 700 %s, or another engine.cache",
                self.directory, reason, self.directory,
            )  # fmt: skip
        return not reason


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


def _stem(name: str) -> str:
    """Return the file name's first part: what the code is made from and for."""
    parts = (str(_FORMAT), version("wasmtime"), platform.system(), platform.machine(), name)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ours(status: os.stat_result) -> bool:
    """Tell whether only we (or root) can write what the status is of."""
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _reason_against(directory: Path) -> str:
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a directory"
    return "" if _ours(status) else "others may write it"
