"""Socket options, with the limits and units that WIT gives them."""

from __future__ import annotations

import socket
import sys

from wasmplex.plugin import Err

from host_plugin_wasi.sockets.addresses import Family
from host_plugin_wasi.sockets.errors import refused

__all__ = ["Options", "TcpOptions"]

_SECOND = 1_000_000_000
_IDLE: int = getattr(socket, "TCP_KEEPIDLE", 0x10)  # macOS has it under another name
_LONGEST = 32_767
"""Seconds: the most that Linux takes for a keep-alive time; longer ones are cut, as WIT allows."""
_MOST_PROBES = 127
# Linux keeps twice what it is asked for, for its own book-keeping, and reports that.
_FACTOR = 2 if sys.platform == "linux" else 1


def _positive(value: int) -> int:
    if not value:
        raise Err("invalid-argument")
    return value


class Options:
    """The options that TCP and UDP sockets share."""

    def __init__(self, target: socket.socket, family: Family) -> None:
        self._socket = target
        if family == "ipv4":
            self._hops = socket.IPPROTO_IP, socket.IP_TTL
        else:
            self._hops = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS

    def _get(self, level: int, option: int) -> int:
        try:
            return self._socket.getsockopt(level, option)
        except OSError as error:
            raise refused(error) from None

    def _set(self, level: int, option: int, value: int) -> None:
        try:
            self._socket.setsockopt(level, option, value)
        except OSError as error:
            raise refused(error) from None

    def hop_limit(self) -> int:
        """Return how many routers a packet may pass."""
        return self._get(*self._hops)

    def set_hop_limit(self, value: int) -> None:
        """Set it; not 0."""
        self._set(*self._hops, _positive(value))

    def _buffer(self, option: int) -> int:
        return self._get(socket.SOL_SOCKET, option) // _FACTOR

    def _set_buffer(self, option: int, value: int) -> None:
        self._set(socket.SOL_SOCKET, option, min(_positive(value), 2**31 - 1))

    def receive_buffer_size(self) -> int:
        """Return bytes."""
        return self._buffer(socket.SO_RCVBUF)

    def set_receive_buffer_size(self, value: int) -> None:
        """Set bytes; the system may cut it."""
        self._set_buffer(socket.SO_RCVBUF, value)

    def send_buffer_size(self) -> int:
        """Return bytes."""
        return self._buffer(socket.SO_SNDBUF)

    def set_send_buffer_size(self, value: int) -> None:
        """Set bytes; the system may cut it."""
        self._set_buffer(socket.SO_SNDBUF, value)


class TcpOptions(Options):
    """The options of TCP sockets. Durations are nanoseconds; the system has whole seconds."""

    def keep_alive_enabled(self) -> bool:
        """Say whether idle connections are probed."""
        return bool(self._get(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def set_keep_alive_enabled(self, value: bool) -> None:
        """Switch it."""
        self._set(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(value))

    def keep_alive_count(self) -> int:
        """Return how many probes may go unanswered."""
        return self._get(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)

    def set_keep_alive_count(self, value: int) -> None:
        """Set it; not 0."""
        self._set(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, min(_positive(value), _MOST_PROBES))

    def _time(self, option: int) -> int:
        return self._get(socket.IPPROTO_TCP, option) * _SECOND

    def _set_time(self, option: int, value: int) -> None:
        seconds = -(-_positive(value) // _SECOND)
        self._set(socket.IPPROTO_TCP, option, min(seconds, _LONGEST))

    def keep_alive_idle_time(self) -> int:
        """Return how long a connection is idle before it is probed."""
        return self._time(_IDLE)

    def set_keep_alive_idle_time(self, value: int) -> None:
        """Set it; not 0."""
        self._set_time(_IDLE, value)

    def keep_alive_interval(self) -> int:
        """Return the time between two probes."""
        return self._time(socket.TCP_KEEPINTVL)

    def set_keep_alive_interval(self, value: int) -> None:
        """Set it; not 0."""
        self._set_time(socket.TCP_KEEPINTVL, value)
