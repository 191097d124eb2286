"""``wasi:sockets@0.3``: TCP, UDP and name lookup for workloads that are granted the network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import Err, Tables, Variant, methods

from host_plugin_wasi.p3.tcp import CODES, Tcp3
from host_plugin_wasi.p3.udp import Udp3
from host_plugin_wasi.sockets.granting import granted
from host_plugin_wasi.sockets.lookup import Resolver

if TYPE_CHECKING:
    from wasmplex.plugin import BoundInterfaces, HostFunctions, WorkloadContext

__all__ = ["bind"]

_LOOKUP = frozenset({
    "access-denied", "invalid-argument", "name-unresolvable", "temporary-resolver-failure",
    "permanent-resolver-failure",
})  # fmt: skip

_BUFFERS = "receive-buffer-size send-buffer-size"
_TCP_OPTIONS = (
    f"keep-alive-enabled keep-alive-idle-time keep-alive-interval keep-alive-count hop-limit {_BUFFERS}"
)


def _options(resource: str, names: str) -> dict[str, Callable[..., Any]]:
    """Return functions that get and set options of the socket of 0.2."""
    made: dict[str, Callable[..., Any]] = {}
    for name in names.split():
        word = name.replace("-", "_")
        made[f"[method]{resource}.get-{name}"] = CODES.translated(partial(_get, word))
        made[f"[method]{resource}.set-{name}"] = CODES.translated(partial(_set, f"set_{word}"))
    return made


def _get(name: str, socket: Tcp3 | Udp3) -> Any:
    return getattr(socket.inner, name)()


def _set(name: str, socket: Tcp3 | Udp3, value: Any) -> None:
    getattr(socket.inner, name)(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: CODES.translated(function)
    for name, function in {
        **methods("tcp-socket", Tcp3, "bind connect listen get-local-address get-remote-address "
                  "get-is-listening get-address-family set-listen-backlog-size"),
        **methods("udp-socket", Udp3, "bind connect disconnect send receive get-local-address "
                  "get-remote-address get-address-family"),
    }.items()
} | {
    **_options("tcp-socket", _TCP_OPTIONS),
    **_options("udp-socket", f"unicast-hop-limit {_BUFFERS}"),
    **methods("tcp-socket", Tcp3, "send receive"),
}  # fmt: skip


def _denied(*args: Any) -> Any:
    raise Err(Variant("access-denied"))


async def _resolved(resolver: Resolver, name: str) -> list[Variant]:
    try:
        stream = resolver.resolve(name)
        await stream.subscribe().block()
        found = []
        while (address := stream.resolve_next_address()) is not None:
            found.append(address)
        return found
    except Err as error:
        code = error.value
        raise Err(Variant(code) if code in _LOOKUP else Variant("other", str(code))) from None


def _tables(
    tcp: Callable[..., Any], udp: Callable[..., Any], resolve: Callable[..., Any]
) -> Mapping[str, HostFunctions]:
    made = {
        "[static]tcp-socket.create": CODES.translated(tcp),
        "[static]udp-socket.create": CODES.translated(udp),
    }
    return {"types": {**_FUNCTIONS, **made}, "ip-name-lookup": {"resolve-addresses": resolve}}


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
                partial(Tcp3.create, sockets), partial(Udp3.create, sockets), partial(_resolved, resolver)
            )
        )
