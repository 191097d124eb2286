"""How a workload's component is run: what is done to it to make it fast, and how bytes get into it.

The component is never changed on disk. What is changed of it in memory (`Strategy.twins`, `lazy_tables` and
`kept_memories`) must not change what it does: ``optimize = false`` leaves all of it out, to find out whether
a fault is the component's or the host's. docs/internals/rewriting.md says what each gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

from wasmplex.component import lazytables

if TYPE_CHECKING:  # `inspect` needs no engine
    from wasmplex.assembly import PlannedWorkload

__all__ = ["Strategy", "choose", "strategy"]

TransportName: TypeAlias = Literal["strings", "memory"]


class EngineSettings(Protocol):
    """What is asked of the engine's settings."""

    @property
    def proposals(self) -> Mapping[str, bool]:
        """The wasm proposals that are switched on or off."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """What is done for a component; what does not suit it is left out nevertheless.

    :ivar transport: how bytes cross the bridge
    :ivar vectors: whether adapters use vector instructions
    :ivar bytes_bridged: whether functions go through the bridge for no other reason than that it is faster
    :ivar twins: whether imported functions that move bytes get twins (`wasmplex.bridge.twins`)
    :ivar bytes_in_place: whether functions that are linked directly take and give bytes where the guest has
        them (`wasmplex.bridge.inplace`), if the host sees its memory anyway
    :ivar arguments_weighed: whether the arguments of such functions are weighed before they become values of
        the host's (`wasmplex.bridge.guarding`)
    :ivar lazy_tables: whether the largest library gets a table that fills itself
        (`wasmplex.component.lazytables`)
    :ivar kept_memories: whether large memories are kept when instances end, and brought back to their images
        (`wasmplex.engine.images`)
    :ivar made_ahead: whether instances may be made before they are asked for (`wasmplex.engine.ahead`)
    """

    transport: TransportName
    vectors: bool
    bytes_bridged: bool
    twins: bool
    bytes_in_place: bool
    arguments_weighed: bool
    lazy_tables: bool
    kept_memories: bool
    made_ahead: bool

    def describe(self) -> str:
        """Return it in a few words, for people."""
        passes = {
            "twins for bytes": self.twins,
            "bytes in place": self.bytes_in_place,
            "arguments weighed": self.arguments_weighed,
            "lazy tables": self.lazy_tables,
            "kept memories": self.kept_memories,
            "instances made ahead": self.made_ahead,
        }
        words = [f"bytes through {'memory' if self.transport == 'memory' else 'strings'}"]
        return ", ".join([*words, *(name for name, on in passes.items() if on)])


def strategy(planned: PlannedWorkload, engine: EngineSettings) -> Strategy:
    """Decide how a workload's component is run."""
    config = planned.config
    optimize = planned.optimize if config.optimize is None else config.optimize
    return choose(
        engine.proposals,
        reuse=config.instances.reuse,
        transport=planned.transport,
        optimize=optimize,
    )


def choose(
    proposals: Mapping[str, bool],
    *,
    reuse: int | None = 1,
    transport: str = "auto",
    optimize: bool = True,
) -> Strategy:
    """Decide how a component is run.

    :param proposals: the wasm proposals that are switched on or off
    :param reuse: how many calls an instance serves; None for more than one
    :param transport: as the configuration says; if that is ``auto``, bytes go through memory. The host has
        all memories of a guest anyway, so that costs instances nothing, whatever their size
    """
    fresh = reuse == 1
    return Strategy(
        transport=cast(
            TransportName, {"auto": "memory" if optimize else "strings"}.get(transport, transport)
        ),
        vectors=proposals.get("simd", True),
        bytes_bridged=optimize,
        twins=optimize,
        bytes_in_place=optimize,
        arguments_weighed=optimize,
        lazy_tables=optimize and fresh and all(proposals.get(name, True) for name in lazytables.NEEDED),
        kept_memories=optimize,
        made_ahead=optimize and fresh,
    )
