"""The resource ``udp-socket`` of wasi:sockets 0.3: that of 0.2, a datagram at a time."""

from __future__ import annotations

from typing import Any

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.p3.tcp import anywhere
from host_plugin_wasi.sockets.addresses import Family
from host_plugin_wasi.sockets.handles import Sockets
from host_plugin_wasi.sockets.udp import IncomingDatagrams, OutgoingDatagrams, UdpSocket, create_udp_socket

__all__ = ["Udp3"]

_LARGEST = 65_507
"""Bytes of a datagram over IPv4, RFC 768: 65,535 without the headers of IP and UDP."""


class Udp3:
    """A UDP socket.

    :ivar inner: the socket of 0.2
    """

    def __init__(self, inner: UdpSocket) -> None:
        self.inner = inner
        self._bound = False
        self._connected = False
        self._streams: tuple[IncomingDatagrams, OutgoingDatagrams] | None = None

    @classmethod
    def create(cls, sockets: Sockets, family: Family) -> Udp3:
        """Make one."""
        return cls(create_udp_socket(sockets, family))

    def drop(self) -> None:
        """Let go of it."""
        self._drop_streams()
        self.inner.drop()

    def _drop_streams(self) -> None:
        streams, self._streams = self._streams, None
        for stream in streams or ():
            stream.drop()

    def bind(self, local_address: Variant) -> None:
        """Bind to an address."""
        self.inner.start_bind(None, local_address)
        self.inner.finish_bind()
        self._bound = True

    def _associate(self, remote: Variant | None) -> tuple[IncomingDatagrams, OutgoingDatagrams]:
        if not self._bound:
            self.bind(anywhere(self.inner.address_family()))
        made = self.inner.stream(remote)
        self._drop_streams()
        self._streams = made
        return made

    def connect(self, remote_address: Variant) -> None:
        """Hear and speak to one address only."""
        self._associate(remote_address)
        self._connected = True

    def disconnect(self) -> None:
        """Hear and speak to all again."""
        if not self._connected:
            raise Err("invalid-state")
        self._associate(None)
        self._connected = False

    async def send(self, data: bytes, remote_address: Variant | None) -> None:
        """Send a datagram, at once or when there is room for it."""
        if len(data) > _LARGEST:
            raise Err("datagram-too-large")
        if remote_address is None and not self._connected:
            raise Err("invalid-argument")
        _, outgoing = self._streams or self._associate(None)
        while not outgoing.check_send() or not outgoing.send(
            [{"data": data, "remote-address": remote_address}]
        ):
            await outgoing.subscribe().block()

    async def receive(self) -> tuple[bytes, Variant]:
        """Return the next datagram, and where it came from."""
        if not self._bound:
            raise Err("invalid-state")
        incoming, _ = self._streams or self._associate(None)
        while not (received := incoming.receive(1)):
            await incoming.subscribe().block()
        datagram: dict[str, Any] = received[0]
        return datagram["data"], datagram["remote-address"]

    def get_local_address(self) -> Variant:
        """Return its own address."""
        return self.inner.local_address()

    def get_remote_address(self) -> Variant:
        """Return the address that it is connected to."""
        return self.inner.remote_address()

    def get_address_family(self) -> Family:
        """Return the family that it was made for."""
        return self.inner.address_family()
