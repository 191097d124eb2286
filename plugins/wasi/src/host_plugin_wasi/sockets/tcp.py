"""The resource ``tcp-socket``: a state machine of start and finish steps over a non-blocking socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from enum import Enum
from typing import Any

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.io import Pollable, ReadyPollable
from host_plugin_wasi.sockets.addresses import FAMILIES, Family, SocketAddress, destination, local, to_wit
from host_plugin_wasi.sockets.errors import refused
from host_plugin_wasi.sockets.handles import Ready, SocketHandle, Sockets
from host_plugin_wasi.sockets.options import TcpOptions
from host_plugin_wasi.sockets.tcp_streams import TcpInput, TcpOutput

__all__ = ["State", "TcpSocket", "create_tcp_socket"]

_BACKLOG = 128
_LONGEST_BACKLOG = 4096


class State(Enum):
    """What has been done with a socket."""

    UNBOUND = "unbound"
    BINDING = "bind started"
    BOUND = "bound"
    STARTING_TO_LISTEN = "listen started"
    LISTENING = "listening"
    CONNECTING = "connect started"
    CONNECTED = "connected"
    CLOSED = "closed"


_UNDER_WAY = {State.BINDING, State.STARTING_TO_LISTEN, State.CONNECTING}


def create_tcp_socket(sockets: Sockets, family: Family) -> TcpSocket:
    """Make a socket.

    :raises Err: ``new-socket-limit``, ``not-supported``
    """
    try:
        handle = sockets.add(socket.socket, FAMILIES[family], socket.SOCK_STREAM)
        if family == "ipv6":
            handle.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    except OSError as error:
        raise refused(error) from None
    return TcpSocket(sockets, handle, family)


class TcpSocket(TcpOptions):
    """A TCP socket."""

    def __init__(self, sockets: Sockets, handle: SocketHandle, family: Family) -> None:
        super().__init__(handle.socket, family)
        self._sockets = sockets
        self._handle = handle
        self._family: Family = family
        self._state = State.UNBOUND
        self._backlog = _BACKLOG
        self._remote: SocketAddress = ()
        self._accepted_from: SocketAddress = ()
        self._failure: Err[str] | None = None
        self._streams: tuple[TcpInput, TcpOutput] | None = None

    def drop(self) -> None:
        """Let go of the socket; streams made from it go on."""
        self._streams = None
        self._handle.release()

    @property
    def state(self) -> State:
        """What has been done with it."""
        return self._state

    @property
    def gone(self) -> bool:
        """Whether it has been closed."""
        return self._socket.fileno() < 0

    def hold(self) -> Callable[[], None]:
        """Keep it open, whoever lets go of it meanwhile; return what ends that."""
        return self._handle.hold().release

    def _require(self, *allowed: State) -> None:
        if self._state not in allowed:
            raise Err("concurrency-conflict" if self._state in _UNDER_WAY else "invalid-state")

    def _finish(self, started: State) -> None:
        if self._state is not started:
            raise Err("not-in-progress")

    # ------------------------------------------------------------ bind, connect, listen, accept

    def start_bind(self, network: Any, local_address: Variant) -> None:
        """Bind to an address; `finish_bind` says how it went."""
        self._require(State.UNBOUND)
        address = local(local_address, self._family)
        try:
            # As servers do: an address is free again as soon as its listener is closed.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
        except OSError as error:
            raise refused(error) from None
        self._state = State.BINDING

    def finish_bind(self) -> None:
        """End what `start_bind` began."""
        self._finish(State.BINDING)
        self._state = State.BOUND

    def start_connect(self, network: Any, remote_address: Variant) -> None:
        """Begin to connect; a failure is reported by `finish_connect`."""
        self._require(State.UNBOUND, State.BOUND)
        address = self._remote = destination(remote_address, self._family)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.connect(address)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._failure = refused(error)
        self._state = State.CONNECTING

    def finish_connect(self) -> tuple[TcpInput, TcpOutput]:
        """Return the streams.

        :raises Err: ``would-block`` if it is too early; why it failed; ``not-in-progress``
        """
        self._finish(State.CONNECTING)
        if self._failure is None:
            if not self._handle.writable.ready():
                raise Err("would-block")
            number = self._get(socket.SOL_SOCKET, socket.SO_ERROR)
            self._failure = refused(OSError(number, os.strerror(number))) if number else None
        if self._failure is not None:
            self._state = State.CLOSED
            raise self._failure
        return self._connected()

    def _connected(self) -> tuple[TcpInput, TcpOutput]:
        self._state = State.CONNECTED
        self._streams = TcpInput(self._handle), TcpOutput(self._handle)
        return self._streams

    def start_listen(self) -> None:
        """Listen; `finish_listen` ends it."""
        self._require(State.BOUND)
        try:
            self._socket.listen(self._backlog)
        except OSError as error:
            raise refused(error) from None
        self._state = State.STARTING_TO_LISTEN

    def finish_listen(self) -> None:
        """End what `start_listen` began."""
        self._finish(State.STARTING_TO_LISTEN)
        self._state = State.LISTENING

    def accept(self) -> tuple[TcpSocket, TcpInput, TcpOutput]:
        """Return the next connection.

        :raises Err: ``would-block`` if there is none yet
        """
        self._require(State.LISTENING)
        try:
            handle = self._sockets.add(self._accept)
        except InterruptedError:
            raise Err("would-block") from None
        except OSError as error:
            raise refused(error) from None
        accepted = TcpSocket(self._sockets, handle, self._family)
        accepted._remote = self._accepted_from
        accepted._set(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return accepted, *accepted._connected()

    def _accept(self) -> socket.socket:
        made, self._accepted_from = self._socket.accept()
        return made

    def shutdown(self, shutdown_type: str) -> None:
        """End one direction of the connection, or both."""
        self._require(State.CONNECTED)
        incoming, outgoing = self._streams or (None, None)
        if incoming and shutdown_type in ("receive", "both"):
            incoming.shutdown()
        if outgoing and shutdown_type in ("send", "both"):
            outgoing.shutdown()

    # ------------------------------------------------------------ what it is

    def local_address(self) -> Variant:
        """Return its own address."""
        if self._state in (State.UNBOUND, State.CLOSED):
            raise Err("invalid-state")
        if self._state is State.BINDING:
            raise Err("concurrency-conflict")
        try:
            return to_wit(self._socket.getsockname())
        except OSError as error:
            raise refused(error) from None

    def remote_address(self) -> Variant:
        """Return the peer's address, also when the peer has gone: the system would not tell it then."""
        self._require(State.CONNECTED)
        return to_wit(self._remote)

    def is_listening(self) -> bool:
        """Say whether it accepts connections."""
        return self._state is State.LISTENING

    def address_family(self) -> Family:
        """Return the family it was made for."""
        return self._family

    def set_listen_backlog_size(self, value: int) -> None:
        """Set how many connections may wait to be accepted; not 0."""
        if not value:
            raise Err("invalid-argument")
        if self._state in (State.CONNECTING, State.CONNECTED, State.CLOSED):
            raise Err("invalid-state")
        self._backlog = min(value, _LONGEST_BACKLOG)
        if self._state is State.LISTENING:
            self._socket.listen(self._backlog)

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when the next step can be taken."""
        if self._state is State.LISTENING:
            return Ready(self._handle.readable)
        if self._state is State.CONNECTING and self._failure is None:
            return Ready(self._handle.writable)
        return ReadyPollable()
