"""What the client library keeps to itself and we cannot do without. With `receiver` it alone looks inside."""

# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.protocol.parser import ERR_RE, PERMISSIONS_ERR

from host_plugin_nats.backlog import Backlog
from host_plugin_nats.failures import NO_TLS
from host_plugin_nats.parsing import Arrived, DirectParser, Take, text_of
from host_plugin_nats.receiver import Receiver

__all__ = [
    "NoTls",
    "end",
    "flush",
    "forget",
    "is_greeted",
    "leave",
    "listen",
    "made",
    "on_end",
    "receive",
    "server_version",
    "stay_alive",
    "write",
    "write_all",
]


_MOST_UNSENT = 8 * 2**20
"""Bytes that may wait to be sent before somebody waits for that."""


class NoTls(errors.Error):
    """Raised for a server that does not encrypt, though it is told to."""

    def __str__(self) -> str:
        return NO_TLS


class _Tolerant(Client):
    """A client that outlives what others send: the library's own ends where a text is none.

    And one that encrypts when it is told to: the library's own does if the server asks for it.
    """

    receiver: Receiver | None = None
    _encrypted = False

    async def connect(self, *, encrypted: bool = False, **options: Any) -> None:  # type: ignore[override]
        """Connect.

        :param encrypted: whether nothing of ours, credentials for one, goes to a server that has no TLS
        :raises NoTls: to the callback of errors, and then itself, if that is how it is
        """
        self._encrypted = encrypted
        await super().connect(**options)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Take what a server says of itself; the library begins TLS with one that requires it."""
        if self._encrypted and info.get("tls_available"):
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        """Return the first that we send, with the credentials; the handshake, if any, is behind us."""
        if self._encrypted and not self._server_info.get("tls_required"):
            raise NoTls
        command: bytes = super()._connect_command()
        return command

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        """Return a message; what is no UTF-8 in its subjects becomes U+FFFD."""
        build: Callable[..., Msg] = super()._build_message
        return build(sid, text_of(subject).encode(), text_of(reply).encode(), data, headers)

    async def _process_err(self, err_msg: str) -> None:
        """Tell of a right that is missing as the server says it: the library has the subject in lower case.

        The line lies in the parser yet.
        """
        line = ERR_RE.match(self._ps.buf)
        if PERMISSIONS_ERR in err_msg and line is not None:
            await self._error_cb(errors.Error(f"nats: {text_of(line[1])[1:-1]}"))
        else:
            await super()._process_err(err_msg)

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        """Return the headers of a message; None if they are none."""
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):
            return None


def is_greeted(client: Client) -> bool:
    """Say whether a server has told what every NATS server tells first."""
    told: object = client._server_info  # what stood there, whatever that was
    return isinstance(told, dict) and bool(told)


def server_version(client: Client) -> str:
    """Return the version that the server told, ``2.11.4``."""
    return str(client._server_info.get("version", ""))


def on_end(client: Client, ended: Callable[[], None]) -> None:
    """Call `ended` when a connection has ended, for whatever reason.

    The library's own callback is not called if closing the connection fails, as it does after a reset.
    """

    def seen(task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # asyncio prints the exceptions that nobody has looked at

    def done(task: asyncio.Task[Any]) -> None:
        seen(task)
        ended()

    for other in (client._flusher_task, client._ping_interval_task):
        if other is not None:
            other.add_done_callback(seen)
    task: asyncio.Task[Any] | None = client._reading_task
    if task is None or task.done():
        ended()
    else:
        task.add_done_callback(done)


def made() -> Client:
    """Return a client whose messages go straight to those who `listen`."""
    client = _Tolerant()
    client._ps = DirectParser(client)
    return client


def receive(client: Client, backlog: Backlog) -> None:
    """Have messages taken where they come in, or kept in the backlog while that is paused."""
    reader, parser = getattr(client._transport, "_io_reader", None), client._ps
    if isinstance(reader, asyncio.StreamReader) and isinstance(client, _Tolerant):
        assert isinstance(parser, DirectParser)  # noqa: S101
        client.receiver = Receiver(client, parser, reader, backlog)


class _Direct:
    """Stands where a subscription has its queue, and has each message handled at once.

    With the library's own, a task moves each message from the queue to its callback, and a full queue drops.
    """

    def __init__(self, take: Take) -> None:
        self._take = take

    def put_nowait(self, message: Msg) -> None:
        self._take([Arrived(message.subject, message.data, message.reply or None, message.headers)])


async def listen(client: Client, subject: str, queue: str, take: Take) -> int:
    """Subscribe, and have messages taken as soon as they have been read; return the number."""
    subscription = await client.subscribe(subject, queue, pending_msgs_limit=0, pending_bytes_limit=0)
    subscription._pending_queue = _Direct(take)  # type: ignore[assignment]
    number = int(subscription._id)
    if isinstance(client._ps, DirectParser):
        client._ps.listen(number, take)
    return number


class _Pong:
    """Stands where the library has the future of a ping: its own it sets though nobody waits any more.

    That is an error, for which it closes the connection.
    """

    def __init__(self, answered: asyncio.Future[None]) -> None:
        self._answered = answered

    def set_result(self, result: Any) -> None:
        if not self._answered.done():
            self._answered.set_result(None)

    def fail(self) -> None:
        """Say that there will be no answer: the connection is lost."""
        if not self._answered.done():
            self._answered.set_exception(errors.ConnectionClosedError())
            self._answered.exception()  # whoever waited may be gone


async def flush(client: Client, seconds: float) -> None:
    """Return when the server has processed all that was sent before.

    The library writes a ping at once, and what was sent before it when a task gets to it: the answer to the
    ping would come first, and say nothing. All of it goes in one write.

    :raises nats.errors.Error: if the connection is lost, or after so many seconds
    """
    transport = client._transport
    if transport is None or not client.is_connected:
        raise errors.ConnectionClosedError
    answered = asyncio.get_running_loop().create_future()
    client._pongs.append(_Pong(answered))  # type: ignore[arg-type]
    transport.writelines([*_taken(client), b"PING\r\n"])
    try:
        async with asyncio.timeout(seconds):
            await transport.drain()  # type: ignore[no-untyped-call]
            await answered
    except TimeoutError:
        raise errors.FlushTimeoutError from None


def _is_behind(client: Client) -> bool:
    """Say whether so much waits to be sent that no more may be added without waiting."""
    writer = getattr(client._transport, "_io_writer", None)
    waits: int = 0 if writer is None else writer.transport.get_write_buffer_size()
    return waits + client._pending_data_size > _MOST_UNSENT


def write(client: Client, subject: str, payload: bytes, reply: str) -> bool:
    """Publish a message at once, not when a task gets to it; return False, and do not, if much waits.

    :raises nats.errors.Error: if the connection is lost, or the message is longer than the server takes
    """
    transport = client._transport
    if transport is None or not client.is_connected:
        raise errors.ConnectionClosedError
    if len(payload) > client.max_payload:
        raise errors.MaxPayloadError
    if _is_behind(client):
        return False
    command = f"PUB {subject} {reply} {len(payload)}\r\n" if reply else f"PUB {subject} {len(payload)}\r\n"
    transport.writelines([*_taken(client), command.encode(), payload, b"\r\n"])
    return True


def write_all(client: Client, subjects: Sequence[str], payload: bytes) -> bool:
    """Publish the same to several subjects, in the next turn of the event loop with what else there is.

    Return False, and do not, if much waits to be sent.

    :raises nats.errors.Error: if the connection is lost
    """
    if client._transport is None or not client.is_connected:
        raise errors.ConnectionClosedError
    if _is_behind(client):
        return False
    end = f" {len(payload)}\r\n{payload.decode('ascii')}\r\n"
    commands = "".join([f"PUB {subject}{end}" for subject in subjects]).encode()
    if not client._pending:
        asyncio.get_running_loop().call_soon(_write_pending, client)
    client._pending.append(commands)
    client._pending_data_size += len(commands)
    return True


def _write_pending(client: Client) -> None:
    transport = client._transport
    if client._pending and transport is not None and client.is_connected:
        transport.writelines(_taken(client))


def _taken(client: Client) -> list[bytes]:
    pending, client._pending = client._pending, []
    client._pending_data_size = 0
    return pending


async def leave(client: Client, number: int) -> None:
    """Unsubscribe; what is on the way is handled all the same until the caller has flushed."""
    await client._send_unsubscribe(number)


def forget(client: Client, numbers: Iterable[int]) -> None:
    """Handle nothing any more that comes for some subscriptions."""
    for number in numbers:
        client._subs.pop(number, None)
        if isinstance(client._ps, DirectParser):
            client._ps.forget(number)


def stay_alive(client: Client) -> None:
    """Have neither side take the other for gone while what comes is not parsed.

    The server's pings lie in the backlog or in the socket, and so do its answers to ours.
    """
    client._pings_outstanding = 0
    if client._transport is not None and client.is_connected:
        client._transport.write(b"PONG\r\n")


def end(client: Client) -> None:
    """End what is left of a client whose connection has ended."""
    for subscription in list(client._subs.values()):
        task = subscription._wait_for_msgs_task
        if task is not None and not task.done():
            task.cancel()
    client._subs.clear()
    for pong in client._pongs:
        if isinstance(pong, _Pong):
            pong.fail()
    client._pongs.clear()
    if isinstance(client, _Tolerant) and client.receiver is not None:
        client.receiver.end()
    elif isinstance(client._ps, DirectParser):
        client._ps.forget_all()
    writer: asyncio.StreamWriter | None = getattr(client._transport, "_io_writer", None)
    if writer is not None:
        writer.transport.abort()  # to be closed it waits for a server that reads nothing
    elif client._transport is not None:
        client._transport.close()  # type: ignore[no-untyped-call]
