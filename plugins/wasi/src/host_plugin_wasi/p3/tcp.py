"""The resource ``tcp-socket`` of wasi:sockets 0.3: that of 0.2 with its steps taken together, and streams."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from wasmplex.plugin import Err, IncomingStream, Variant

from host_plugin_wasi.io import OutputStream
from host_plugin_wasi.p3.ends import Codes, Reading, failing, finished
from host_plugin_wasi.sockets.addresses import Family
from host_plugin_wasi.sockets.handles import Sockets
from host_plugin_wasi.sockets.tcp import State, TcpSocket, create_tcp_socket
from host_plugin_wasi.sockets.tcp_streams import PERMIT, TcpInput, TcpOutput

__all__ = ["CODES", "Tcp3", "anywhere"]

_STATE = "invalid-state"
_SAME = frozenset({
    "access-denied", "not-supported", "invalid-argument", "out-of-memory", "timeout", _STATE,
    "address-not-bindable", "address-in-use", "remote-unreachable", "connection-refused", "connection-broken",
    "connection-reset", "connection-aborted", "datagram-too-large",
})  # fmt: skip
CODES = Codes(
    _SAME,
    {
        "concurrency-conflict": Variant(_STATE),
        "not-in-progress": Variant(_STATE),
        "unknown": Variant("other", None),
    },
)
"""The error codes of sockets."""


def anywhere(family: Family) -> Variant:
    """Return the address that has the system choose one, and a port."""
    if family == "ipv4":
        return Variant("ipv4", {"port": 0, "address": (0, 0, 0, 0)})
    return Variant("ipv6", {"port": 0, "flow-info": 0, "address": (0,) * 8, "scope-id": 0})


class Tcp3:
    """A TCP socket. It lives until the last of what was made from it is dropped.

    :ivar inner: the socket of 0.2
    """

    def __init__(self, inner: TcpSocket) -> None:
        self.inner = inner
        self._input: TcpInput | None = None
        self._output: TcpOutput | None = None

    @classmethod
    def create(cls, sockets: Sockets, family: Family) -> Tcp3:
        """Make one."""
        return cls(create_tcp_socket(sockets, family))

    def drop(self) -> None:
        """Let go of it; streams made from it go on."""
        for end in (self._input, self._output):
            if end is not None:
                end.drop()
        self._input = self._output = None
        self.inner.drop()

    def bind(self, local_address: Variant) -> None:
        """Bind to an address."""
        self.inner.start_bind(None, local_address)
        self.inner.finish_bind()

    async def connect(self, remote_address: Variant) -> None:
        """Connect."""
        self.inner.start_connect(None, remote_address)
        await self.inner.subscribe().block()
        self._input, self._output = self.inner.finish_connect()

    def listen(self) -> Reading[list[Tcp3]]:
        """Listen, at a port of the system's choice if it is not bound; return the connections."""
        if self.inner.state is State.UNBOUND:
            self.bind(anywhere(self.inner.address_family()))
        self.inner.start_listen()
        self.inner.finish_listen()
        return Reading(self._accepted(), CODES, self.inner.hold())

    async def _accepted(self) -> AsyncGenerator[list[Tcp3], None]:
        while not self.inner.gone:
            try:
                inner, incoming, outgoing = self.inner.accept()
            except Err as error:
                if error.value == "would-block":
                    await self.inner.subscribe().block()
                elif error.value in ("connection-aborted", "connection-reset"):
                    await sleep(0)  # the peer has gone before it was accepted
                else:
                    return
                continue
            accepted = Tcp3(inner)
            accepted._input, accepted._output = incoming, outgoing
            yield [accepted]

    def send(self, data: IncomingStream[bytes]) -> Coroutine[Any, Any, None]:
        """Send what comes, then end that direction; once. Return what says how that ended."""
        output, self._output = self._output, None
        if output is None:
            data.close()
            return finished(Variant(_STATE))
        return _sent(output, data)

    def receive(self) -> tuple[Reading[bytes], Coroutine[Any, Any, None]]:
        """Return what comes in, and how that ended; once."""
        incoming, self._input = self._input, None
        if incoming is None:
            return Reading(failing(Err(_STATE)), CODES).both
        return Reading(_received(incoming), CODES, incoming.drop).both

    def get_local_address(self) -> Variant:
        """Return its own address."""
        return self.inner.local_address()

    def get_remote_address(self) -> Variant:
        """Return the peer's address."""
        return self.inner.remote_address()

    def get_is_listening(self) -> bool:
        """Say whether it accepts connections."""
        return self.inner.is_listening()

    def get_address_family(self) -> Family:
        """Return the family that it was made for."""
        return self.inner.address_family()

    def set_listen_backlog_size(self, value: int) -> None:
        """Set how many connections may wait to be accepted; not 0."""
        self.inner.set_listen_backlog_size(value)


async def _sent(output: OutputStream, data: IncomingStream[bytes]) -> None:
    try:
        async for piece in data:
            if (pending := output.blocking_write_and_flush(piece)) is not None:
                await pending
    except Err as error:
        raise Err(CODES.of(error.value)) from None
    finally:
        data.close()
        output.drop()


async def _received(incoming: TcpInput) -> AsyncGenerator[bytes, None]:
    try:
        while True:
            if piece := incoming.read(PERMIT):
                yield piece
            else:
                await incoming.subscribe().block()
    except Err as error:
        if error.value.tag != "closed":
            raise
