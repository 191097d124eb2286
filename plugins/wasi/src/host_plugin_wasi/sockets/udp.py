"""The resource ``udp-socket`` and its two streams of datagrams."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.io import READ_LIMIT, Pollable, ReadyPollable, Violation
from host_plugin_wasi.sockets.addresses import (
    FAMILIES,
    Family,
    SocketAddress,
    destination,
    local,
    same,
    to_wit,
)
from host_plugin_wasi.sockets.errors import refused
from host_plugin_wasi.sockets.handles import Ready, SocketHandle, Sockets
from host_plugin_wasi.sockets.options import Options

__all__ = ["BATCH", "IncomingDatagrams", "OutgoingDatagrams", "UdpSocket", "create_udp_socket"]

BATCH = 16
"""Datagrams of one receive or send."""

_LARGEST = 65_535

_libc = ctypes.CDLL(None)


def _disconnect(target: socket.socket, name: SocketAddress) -> None:
    # Connecting to AF_UNSPEC, which Python's own `connect` cannot express. It undoes a bind to a port
    # that the system had chosen, too.
    _libc.connect(target.fileno(), bytes(16), 16)
    if target.getsockname()[1] != name[1]:
        target.bind(name)


def create_udp_socket(sockets: Sockets, family: Family) -> UdpSocket:
    """Make a socket.

    :raises Err: ``new-socket-limit``, ``not-supported``
    """
    try:
        handle = sockets.add(socket.socket, FAMILIES[family], socket.SOCK_DGRAM)
        if family == "ipv6":
            handle.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    except OSError as error:
        raise refused(error) from None
    return UdpSocket(handle, family)


class UdpSocket(Options):
    """A UDP socket."""

    def __init__(self, handle: SocketHandle, family: Family) -> None:
        super().__init__(handle.socket, family)
        self._handle = handle
        self._family: Family = family
        self._binding = False
        self._bound = False
        self._association: Association | None = None

    def drop(self) -> None:
        """Let go of the socket; streams made from it go on."""
        self._handle.release()

    def start_bind(self, network: Any, local_address: Variant) -> None:
        """Bind to an address; `finish_bind` ends it."""
        if self._binding:
            raise Err("concurrency-conflict")
        if self._bound:
            raise Err("invalid-state")
        address = local(local_address, self._family, multicast=True)
        try:
            self._socket.bind(address)
            self._name: SocketAddress = self._socket.getsockname()
        except OSError as error:
            raise refused(error) from None
        self._binding = True

    def finish_bind(self) -> None:
        """End what `start_bind` began."""
        if not self._binding:
            raise Err("not-in-progress")
        self._binding, self._bound = False, True

    def stream(self, remote_address: Variant | None) -> tuple[IncomingDatagrams, OutgoingDatagrams]:
        """Return streams from and to one address, or all; those returned earlier work no more."""
        if not self._bound:
            raise Err("invalid-state")
        remote = None
        if remote_address is not None:
            remote = destination(remote_address, self._family, multicast=True)
        try:
            association = self._associate(remote)
        except OSError as error:
            raise refused(error) from None
        return IncomingDatagrams(self._handle, association), OutgoingDatagrams(self._handle, association)

    def _associate(self, remote: SocketAddress | None) -> Association:
        old, self._association = self._association, Association(remote, self._family)
        if old is not None:
            old.current = False
            if remote is None and old.remote is not None:
                _disconnect(self._socket, self._name)
        if remote is not None:
            self._socket.connect(remote)
        return self._association

    def local_address(self) -> Variant:
        """Return its own address."""
        if self._binding:
            raise Err("concurrency-conflict")
        if not self._bound:
            raise Err("invalid-state")
        return to_wit(self._socket.getsockname())

    def remote_address(self) -> Variant:
        """Return the address that its streams are limited to."""
        if self._association is None or self._association.remote is None:
            raise Err("invalid-state")
        return to_wit(self._socket.getpeername())

    def address_family(self) -> Family:
        """Return the family it was made for."""
        return self._family

    def unicast_hop_limit(self) -> int:
        """Return how many routers a datagram may pass."""
        return self.hop_limit()

    def set_unicast_hop_limit(self, value: int) -> None:
        """Set it; not 0."""
        self.set_hop_limit(value)

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready: no step of this socket waits."""
        return ReadyPollable()


class Association:
    """Whom one pair of streams is for.

    :ivar remote: the only address it hears and speaks to, None for all
    :ivar current: False once the socket has made another pair
    """

    def __init__(self, remote: SocketAddress | None, family: Family) -> None:
        self.remote = remote
        self.family: Family = family
        self.current = True


class _Datagrams:
    def __init__(self, handle: SocketHandle, association: Association) -> None:
        self._handle = handle.hold()
        self._association = association

    def drop(self) -> None:
        """Let go of the socket."""
        self._handle.release()

    def _check(self) -> None:
        if not self._association.current:
            raise Err("invalid-state")


class IncomingDatagrams(_Datagrams):
    """The resource ``incoming-datagram-stream``."""

    def receive(self, max_results: int) -> list[dict[str, Any]]:
        """Return what has come, without waiting; an error only if nothing came before it."""
        self._check()
        received: list[dict[str, Any]] = []
        size = 0
        # A datagram from someone else is dropped, and counts, or a flood of them would hold us here.
        for _ in range(min(max_results, BATCH)):
            try:
                data, source = self._handle.socket.recvfrom(_LARGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if received:
                    break
                raise refused(error) from None
            remote = self._association.remote
            if remote is None or same(source, remote):
                received.append({"data": data, "remote-address": to_wit(source)})
            if (size := size + len(data)) >= READ_LIMIT:
                break
        return received

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when there is a datagram."""
        return Ready(self._handle.readable)


class OutgoingDatagrams(_Datagrams):
    """The resource ``outgoing-datagram-stream``."""

    def __init__(self, handle: SocketHandle, association: Association) -> None:
        super().__init__(handle, association)
        self._permit = 0

    def check_send(self) -> int:
        """Return how many datagrams `send` takes now; 0: wait for `subscribe`."""
        self._check()
        self._permit = BATCH if self._handle.writable.ready() else 0
        return self._permit

    def send(self, datagrams: Sequence[Mapping[str, Any]]) -> int:
        """Send; return how many went out. An error only if none did.

        :raises Violation: if they are more than `check_send` permitted
        """
        self._check()
        if len(datagrams) > self._permit:
            raise Violation("wasi:sockets/udp: send of more datagrams than check-send permits")
        sent = 0
        for datagram in datagrams:
            try:
                self._send(datagram)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if sent:
                    break
                raise refused(error) from None
            except Err:
                if sent:
                    break
                raise
            sent += 1
        self._permit -= sent
        return sent

    def _send(self, datagram: Mapping[str, Any]) -> None:
        given: Variant | None = datagram["remote-address"]
        remote = self._association.remote
        if given is None:
            if remote is None:
                raise Err("invalid-argument")
            self._handle.socket.send(datagram["data"])
            return
        target = destination(given, self._association.family, multicast=True)
        if remote is None:
            self._handle.socket.sendto(datagram["data"], target)
        elif same(target, remote):
            self._handle.socket.send(datagram["data"])
        else:
            raise Err("invalid-argument")

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when a datagram can be sent."""
        return Ready(self._handle.writable)
