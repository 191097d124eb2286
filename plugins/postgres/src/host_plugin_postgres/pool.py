"""The connections that one database has: handed out one by one, taken back clean or not at all."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio
from wasmplex.capabilities.postgres import ConnectionFailed
from wasmplex.plugin import Threads

from host_plugin_postgres.link import NOTHING_PREPARED, Link

__all__ = ["Pool"]

T = TypeVar("T")
_THREADS = 2


class Pool:
    """At most `size` connections.

    :param connect: opens one for a user
    :ivar threads: for reading and writing values that take longer than others should wait
    :ivar patience: seconds that a session may take to end before its connection is closed
    """

    patience = 5.0

    def __init__(self, connect: Callable[[str], Awaitable[Link]], size: int) -> None:
        self.threads = Threads("postgres-values", _THREADS)
        self._connect = connect
        self._room = asyncio.Semaphore(size)
        self._idle: deque[Link] = deque()
        self._links: set[Link] = set()
        self._outdated: set[Link] = set()
        """Those that are in use, or being reset, and are closed instead of being used again."""
        self._resetting: dict[Link, tuple[asyncio.Future[str], asyncio.TimerHandle]] = {}
        """What will say whether a session is clean, and what closes its connection if nothing does."""
        self._tasks: set[asyncio.Future[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        """Return how many connections there are."""
        return len(self._links)

    @property
    def idle(self) -> int:
        """How many of them wait for work."""
        return len(self._idle)

    async def take(self, user: str) -> Link:
        """Return a connection that nobody else has, in the order of asking. `give` or `drop` it."""
        if not self._idle:
            self._look()
        await self._room.acquire()
        try:
            return await self._take(user)
        except BaseException:
            self._room.release()
            raise

    def _look(self) -> None:
        """Take the connection back that was the first to be reset, if it has been by now.

        The event loop has not had its turn since, where one guest asks for one thing after the other.
        """
        for link, (clean, _) in self._resetting.items():
            link.poll()
            if clean.done():
                self._reset(link, clean)
            return

    async def _take(self, user: str) -> Link:
        if self._closed:
            raise ConnectionFailed("the database is closed")
        link = self._pick(user)
        if link is None:
            link = await self._connect(user)
            self._links.add(link)
        elif link.user != user:
            await self._greet(link, user)
        return link

    async def _greet(self, link: Link, user: str) -> None:
        try:
            await link.greet(user)
        except BaseException:
            self._remove(link)
            raise

    def _pick(self, user: str) -> Link | None:
        """Return an idle connection, one that the user had last if possible; None if there is none."""
        while self._idle:
            chosen = next(
                (at for at in range(len(self._idle) - 1, -1, -1) if self._idle[at].user == user), -1
            )
            link = self._idle[chosen]
            del self._idle[chosen]
            if link.is_open:
                return link
            self._links.discard(link)
        return None

    async def finish(self, link: Link, *, commit: bool) -> None:
        """End a session and take its connection back, whatever becomes of the caller.

        :raises Exception: what committing failed with
        """
        await asyncio.shield(self.ending(link, commit=commit))

    def ending(self, link: Link, *, commit: bool, plain: bool = False) -> asyncio.Future[Any]:
        """Begin to end a session; return what is done when it has ended: of a plain one, its transaction.

        Who waits for that is told, if they wanted to commit, what it failed with.

        :param plain: whether others see nothing of what it leaves until it is reset
        """
        if link.is_busy:
            return self.spawn(self.stop(link))
        ended, clean = link.end(commit=commit)
        patience = asyncio.get_running_loop().call_later(self.patience, link.abort)
        self._resetting[link] = clean, patience
        clean.add_done_callback(functools.partial(self._reset, link))
        if not plain:
            return self.spawn(_all_of(ended if commit else None, clean))
        return ended if ended is not None and commit else _done()

    async def stop(self, link: Link, *, commit: bool = False, plain: bool = False, grace: float = 0) -> None:
        """End a session whose connection is busy, as `ending` does; one that cannot be stopped is closed.

        :param grace: seconds that what is under way may take; it is cancelled then
        :raises Exception: what that has failed with, or committing
        """
        try:
            with anyio.fail_after(self.patience):
                error = await link.interrupt(grace=grace)
        except BaseException:
            self.drop(link)
            raise
        await self.ending(link, commit=commit and error is None, plain=plain)
        if error is not None:
            raise error

    def _reset(self, link: Link, clean: asyncio.Future[str]) -> None:
        """Take a connection back, when the server has said what became of its session, unless it was."""
        if (noted := self._resetting.get(link)) is None or noted[0] is not clean:
            return
        del self._resetting[link]
        noted[1].cancel()
        if clean.cancelled() or clean.exception() is not None or link.in_transaction:
            self._return(link, clean=False)
        elif clean.result() == NOTHING_PREPARED:
            self._return(link, clean=True)
        else:
            self.spawn(self._forget(link))

    async def _forget(self, link: Link) -> None:
        clean = False
        try:
            with anyio.fail_after(self.patience):
                await link.forget()
            clean = True
        finally:
            self._return(link, clean=clean)

    def _return(self, link: Link, *, clean: bool) -> None:
        if clean and link.is_open and not self._closed and link not in self._outdated:
            self._idle.append(link)
        else:
            self._remove(link)
        self._room.release()

    def drop(self, link: Link) -> None:
        """Take a connection back that is of no use any more."""
        self._remove(link)
        self._room.release()

    async def close(self) -> None:
        """Close all connections; operations under way fail."""
        self._closed = True
        self.threads.close()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(self.patience):
                while under_way := self._tasks | {clean for clean, _ in self._resetting.values()}:
                    await asyncio.wait(under_way)
            links = list(self._links)
            with anyio.move_on_after(self.patience):
                await asyncio.gather(
                    *(link.connection.close(timeout=self.patience) for link in links), return_exceptions=True
                )
            for link in links:
                self._remove(link)
            self._idle.clear()
            for task in self._tasks:
                task.cancel()
            while self._tasks:
                await asyncio.wait(self._tasks)

    def forget_idle(self) -> None:
        """Close all that wait for work, and the others when they would: the server is not what it was."""
        while self._idle:
            self._remove(self._idle.popleft())
        self._outdated |= self._links

    def _remove(self, link: Link) -> None:
        self._links.discard(link)
        self._outdated.discard(link)
        link.abort()

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something in a task that ends before the pool is closed."""
        task = asyncio.ensure_future(coroutine)
        self._keep(task)
        return task

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it is told; if nobody does, that is on purpose


async def _all_of(ended: asyncio.Future[str] | None, clean: asyncio.Future[str]) -> None:
    await asyncio.wait({clean})
    if ended is not None:
        await ended


def _done() -> asyncio.Future[None]:
    """Return what is done already."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
