"""Reading the files that settings name, which may lie on a disk that does not answer."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio

from wasmplex.blocking import Threads
from wasmplex.errors import BackendError
from wasmplex.tls import client_tls, unusable

__all__ = ["NamedFiles"]

T = TypeVar("T")

_LARGEST: Final = 16 << 20
"""Bytes of a file: some are without an end."""


class NamedFiles:
    """Reads files in a thread, and no longer than it may take: the event loop goes on meanwhile.

    What is stuck keeps its thread, and there is one: whoever tries again and again makes no more of them.

    :param what: whose files they are, for errors: ``the Redis store``
    :param seconds: how long one call may take
    :param prefix: what stands before ``ca_file``, ``cert_file`` and ``key_file`` in the settings
    """

    def __init__(self, what: str, seconds: float, prefix: str = "tls_") -> None:
        self._what = what
        self._seconds = seconds
        self._prefix = prefix
        self._threads = Threads("files of settings", 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the thread end."""
        self._threads.close()

    async def read(self, key: str, path: Path) -> bytes:
        """Return what is in a file.

        :param key: the setting that names it
        :raises BackendError: that says which file cannot be read, and why
        """
        (content,) = await self._run([(key, path)], lambda contents: contents)
        return content

    async def tls(
        self, ca_file: Path | None = None, cert_file: Path | None = None, key_file: Path | None = None
    ) -> ssl.SSLContext:
        """Return what `client_tls` does of these files.

        :raises BackendError: that says which file cannot be used, and why
        """
        keys = (f"{self._prefix}{key}" for key in ("ca_file", "cert_file", "key_file"))
        files = (ca_file, cert_file, key_file)
        named = [(key, path) for key, path in zip(keys, files, strict=True) if path is not None]
        return await self._run(named, lambda _: client_tls(self._what, *files, prefix=self._prefix))

    async def _run(self, named: Sequence[tuple[str, Path]], use: Callable[[list[bytes]], T]) -> T:
        """Read files, then call a function, in the thread; late, say at which file that was."""
        at: tuple[str, Path] | None = None

        def work() -> T:
            nonlocal at
            contents = []
            for at in named:
                contents.append(self._content(*at))
            return use(contents)

        try:
            with anyio.fail_after(self._seconds):
                return await self._threads.run(work)
        except TimeoutError:
            why = f"it could not be read within {self._seconds:g} s"
            if at is None and not named:
                trusted = f"the certificates that the system trusts cannot be used for {self._what}"
                raise BackendError(trusted, why=why, fix="check the disk that they lie on") from None
            key, path = at or named[0]
            raise unusable(self._what, key, path, why, "check the disk that it lies on") from None

    def _content(self, key: str, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise unusable(self._what, key, path, (error.strerror or str(error)).lower()) from error
        if len(content) > _LARGEST:
            raise unusable(self._what, key, path, f"it has more than {_LARGEST >> 20} MiB")
        return content
