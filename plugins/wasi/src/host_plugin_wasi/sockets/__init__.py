"""``wasi:sockets``: TCP, UDP and name lookup for workloads that are granted the network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import Err, Tables, methods

from host_plugin_wasi.sockets.errors import DOMAIN
from host_plugin_wasi.sockets.granting import granted
from host_plugin_wasi.sockets.lookup import AddressStream
from host_plugin_wasi.sockets.tcp import TcpSocket, create_tcp_socket
from host_plugin_wasi.sockets.udp import IncomingDatagrams, OutgoingDatagrams, UdpSocket, create_udp_socket

if TYPE_CHECKING:
    from wasmplex.plugin import BoundInterfaces, HostFunctions, WorkloadContext

__all__ = ["Network", "bind"]


class Network:
    """The resource ``network``. It gives no rights: what a workload may do is settled when it is bound."""


_BUFFERS = "receive-buffer-size set-receive-buffer-size send-buffer-size set-send-buffer-size"

_TCP = methods(
    "tcp-socket",
    TcpSocket,
    "start-bind finish-bind start-connect finish-connect start-listen finish-listen accept local-address "
    "remote-address is-listening address-family set-listen-backlog-size keep-alive-enabled "
    "set-keep-alive-enabled keep-alive-idle-time set-keep-alive-idle-time keep-alive-interval "
    "set-keep-alive-interval keep-alive-count set-keep-alive-count hop-limit set-hop-limit "
    f"{_BUFFERS} subscribe shutdown",
)

_UDP = {
    **methods(
        "udp-socket",
        UdpSocket,
        "start-bind finish-bind stream local-address remote-address address-family unicast-hop-limit "
        f"set-unicast-hop-limit {_BUFFERS} subscribe",
    ),
    **methods("incoming-datagram-stream", IncomingDatagrams, "receive subscribe"),
    **methods("outgoing-datagram-stream", OutgoingDatagrams, "check-send send subscribe"),
}

_STREAM = methods("resolve-address-stream", AddressStream, "resolve-next-address subscribe")


def _denied(*args: Any) -> Any:
    raise Err("access-denied")


def _tables(
    tcp: Callable[..., Any], udp: Callable[..., Any], resolve: Callable[..., Any]
) -> dict[str, HostFunctions]:
    return {
        "instance-network": {"instance-network": Network},
        "network": {"network-error-code": lambda error: error.code_of(DOMAIN)},
        "tcp-create-socket": {"create-tcp-socket": tcp},
        "tcp": _TCP,
        "udp-create-socket": {"create-udp-socket": udp},
        "udp": _UDP,
        "ip-name-lookup": {"resolve-addresses": resolve, **_STREAM},
    }


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Bind ``wasi:sockets``. Without the grant no socket can be made and no name looked up.

    Sockets that are still open when the workload ends are closed.
    """
    async with granted(workload) as network:
        if network is None:
            yield Tables(_tables(_denied, _denied, _denied))
            return
        sockets, resolver = network
        yield Tables(
            _tables(
                partial(create_tcp_socket, sockets),
                partial(create_udp_socket, sockets),
                lambda network, name: resolver.resolve(name),
            )
        )
