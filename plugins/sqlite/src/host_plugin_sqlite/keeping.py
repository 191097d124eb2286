"""Which file is open, and what happens when its path leads to it no longer.

What was acknowledged has to be found again by whoever opens the path, or whatever the file is called now. So
nothing is read or written any more; what is in the log is folded into the file that was open; and the file
that the path leads to then is opened as if the host were started with it. None is made where there is none:
whoever removed it may be about to put another in its place, and what was written until then would be lost.

::

    open ── Broken ──> lost: operations are unavailable
      ^                  │ folded into what was open, closed
      └── opened anew ───┘ once the path leads to a file that nobody is writing any more
"""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import anyio.to_thread
from wasmplex.capabilities.keyvalue import StoreUnavailable
from wasmplex.plugin import BackendError, get_logger

from host_plugin_sqlite import SqliteSettings
from host_plugin_sqlite.file import OpenFile
from host_plugin_sqlite.seal import Broken, Reason, Seal

__all__ = ["Keeper"]

logger = get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks at a file that nobody uses, and between attempts to open one anew."""
SETTLED = 1.0
"""Seconds for which a file has to be unchanged that comes while the host runs: it may still be copied."""

_NEXT = {
    Reason.GONE: "put it back, or restart the host to begin with an empty one",
    Reason.REPLACED: "it is opened once it has settled",
    Reason.LOG: "it is opened anew once what the log holds is in it",
    Reason.CUT: "it is examined",
}
_DAMAGED = (
    "it is damaged; put a good one in its place by renaming it, or restart the host to use what is left"
)


class Keeper:
    """Has a file open, and opens it anew."""

    def __init__(self, file: OpenFile, settings: SqliteSettings) -> None:
        self._path = file.path
        self._settings = settings
        self._file: OpenFile | None = file
        self._old: OpenFile | None = None
        """The file that was lost, until all that was acknowledged is in it."""
        self._seal = file.seal
        self._why = Reason.GONE
        self._damaged = False
        self._lost = anyio.Event()
        self._said = ""

    @classmethod
    async def open(cls, path: Path, settings: SqliteSettings) -> Keeper:
        """Open the file, making it if it is missing and `settings` allow.

        :raises wasmplex.errors.BackendError: with what to type next
        """
        try:
            return cls(await OpenFile.open(path, settings, create=settings.create), settings)
        except Broken as broken:
            raise BackendError(f"cannot open the SQLite file {path}", why=str(broken)) from broken

    @property
    def file(self) -> OpenFile:
        """The file to use.

        :raises StoreUnavailable: if it is lost
        """
        if self._file is None:
            raise StoreUnavailable(self._why.value)
        return self._file

    def lose(self, file: OpenFile, broken: Broken) -> None:
        """Use a file no more, since its seal is broken; saying so twice is saying so once."""
        if self._file is file:
            self._file, self._old, self._seal, self._why = None, file, file.seal, broken.reason
            self._damaged = False
            self._lost.set()
            self._say(f"{broken}; operations fail until then: {_NEXT[broken.reason]}")

    async def run(self) -> None:
        """Look at the file, and open it anew when it was lost; until cancelled."""
        while True:
            with anyio.move_on_after(LOOK_EVERY):
                await self._lost.wait()
            try:
                if self._file is not None:
                    await self._look(self._file)
                else:
                    self._lost = anyio.Event()
                    await self._open_anew()
            except Exception:
                logger.exception("SQLite file %s: looking after it failed; trying again", self._path)

    async def close(self) -> None:
        """Close what is open; what was acknowledged is in a file afterwards, if that is possible at all."""
        if self._file is not None:
            await self._look(self._file)
        if self._old is not None and not self._damaged and not await self._old.fold():
            self._say("what its log holds could not be written into it, and is lost unless the log is there")
        for file in (self._file, self._old):
            if file is not None:
                await file.close()

    async def _look(self, file: OpenFile) -> None:
        try:
            await file.look()
        except Broken as broken:
            self.lose(file, broken)

    async def _open_anew(self) -> None:
        if not await self._let_go() or not await anyio.to_thread.run_sync(
            _is_settled, self._path, self._seal
        ):
            return
        try:
            self._file = await OpenFile.open(self._path, self._settings, create=False)
        except BackendError as error:
            self._say(f"cannot be opened anew: {error.diagnostics[0].why}")
        except Broken:
            pass  # it is changing right now
        else:
            self._say("opened anew")

    async def _let_go(self) -> bool:
        """Close the lost file; return whether that is done."""
        old = self._old
        if old is None:
            return True
        if self._why is Reason.CUT and not self._damaged:
            self._damaged = not await old.is_whole()
        if self._damaged:
            if await anyio.to_thread.run_sync(old.seal.is_in_place):
                self._say(_DAMAGED)
                return False
            await old.drop_logs()
        elif not await old.fold():
            self._say("its log cannot be written into it: the disk is full, or another process is reading it")
            return False
        self._old = None
        await old.close()
        return True

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            logger.warning("SQLite file %s: %s", self._path, text)


def _is_settled(path: Path, before: Seal) -> bool:
    """Return whether a file can be opened: the one from before, or one that nobody is writing any more."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    return before.is_in_place() or not 0 <= age < SETTLED
