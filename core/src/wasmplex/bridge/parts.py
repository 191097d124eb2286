"""What import and export adapters have in common: the host's functions, built-ins, memories, the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.machine import machine
from wasmplex.bridge.memories import call_memory, stream_memory
from wasmplex.bridge.places import BEGIN
from wasmplex.bridge.protocol import STREAM_HEAP
from wasmplex.bridge.transport import Marks, Transport
from wasmplex.engine.traps import MACHINE

__all__ = ["GUEST_OPTIONS", "START", "TWIN_ENCODING", "Parts", "host_instance"]


def host_instance(transport: Transport, bare: Iterable[str] = ()) -> str:
    """Return the type of the host's instance.

    :param bare: the names of its functions of the type ``func()``
    """
    lines = [f'(export "{name}" (func))' for name in bare]
    for name, (params, result) in transport.functions.items():
        texts = [f'(param "{param}" {type_})' for param, type_ in params]
        texts += [] if result is None else [f"(result {result})"]
        lines.append(f'(export "{name}" (func {" ".join(texts)}))')
    return "\n".join(lines)


START = """(func (export "start") async
  (canon lift (core func $machine "start") async (callback (core func $machine "callback"))))"""

GUEST_OPTIONS = "(memory $mem) (realloc $realloc)"
"""Options of what faces the guest; strings are UTF-8 there."""
TWIN_ENCODING = "string-encoding=latin1+utf16"
"""One more option of what faces the guest, for twins."""
_LOWER_OPTIONS = {
    "": "",
    "m": "(memory $mem) (realloc $realloc) string-encoding=latin1+utf16",
    "s": "(memory $smem) (realloc $srealloc) string-encoding=latin1+utf16",
    "a": "(memory $smem) (realloc $srealloc)",
    "h": "(memory $hmem) (realloc $hrealloc) string-encoding=latin1+utf16",
}


_FIXED = """(type $wake (stream))
(core func $wake_new (canon stream.new $wake))
(core func $wake_read (canon stream.read $wake async))
(core func $wake_write (canon stream.write $wake async))
(core func $wake_cancel (canon stream.cancel-read $wake))
(core func $set_new (canon waitable-set.new))
(core func $poll (canon waitable-set.poll (memory $mem)))
(core func $join (canon waitable.join))
(core func $context (canon context.get i32 0))
(core func $set_context (canon context.set i32 0))
(core func $task_cancel (canon task.cancel))"""

_FIXED_IMPORTS = {
    "wake_new": "-> i64",
    "wake_read": "i32 i32 i32 -> i32",
    "wake_write": "i32 i32 i32 -> i32",
    "wake_cancel": "i32 -> i32",
    "set_new": "-> i32",
    "poll": "i32 i32 -> i32",
    "join": "i32 i32",
    "context": "-> i32",
    "set_context": "i32",
    "task_cancel": "",
    "started": "",
}

# A size of -1 is up to the end of the heap; growing to 0 is emptying the heap.
_STREAMS = """
    (func $emit (param $which i32) (param $task i32) (param $at i32) (param $size i32)
      (if (i32.eq (local.get $size) (i32.const -1)) (then
        (local.set $size (i32.sub (global.get $hheap) (local.get $at)))))
      (if (i32.eqz (local.get $size)) (then (local.set $at (i32.const 0))))
      (call $send (local.get $which) (local.get $task) (local.get $at) (local.get $size)))
    (func $grow (param $which i32) (param $end i32)
      (if (i32.eqz (local.get $end)) (then (global.set $hheap (i32.const @STREAM_HEAP@)) (return)))
      (if (local.get $which)
        (then (call $hreserve (local.get $end)))
        (else (call $sreserve (local.get $end)))))
"""


_STREAM_IMPORTS = """(import "s" "target" (global $starget (mut i32)))
(import "s" "reserve" (func $sreserve (param i32)))
(import "sh" "target" (global $htarget (mut i32)))
(import "sh" "reserve" (func $hreserve (param i32)))
(import "sh" "heap" (global $hheap (mut i32)))"""
_CHUNK_IMPORTS = """(import "s" "pack" (func $pack_chunk (param i32 i32) (result i32)))
(import "s" "unpack" (func $unpack (param i32 i32)))"""


def _signature(text: str) -> str:
    params, _, result = text.partition("->")
    return (f"(param {params.strip()})" if params.strip() else "") + (
        f" (result {result.strip()})" if result.strip() else ""
    )


@dataclass
class Parts:
    """The parts of one adapter that do not depend on its functions' types.

    :ivar marks: the maxima by which the host tells the adapter's memories
    :ivar tasks: False for an adapter of synchronous functions without streams and futures
    :ivar extra: core functions that the machine imports besides: name and signature, as ``$name``
    :ivar bare: functions of the host of the type ``func()``, by the name of the core function
    :ivar tables: further tables and functions of the machine
    :ivar defines: whether it defines resources
    :ivar return_options: options of the ``task.return`` of ``start`` or ``call``; those of its lift
    """

    builtins: Builtins
    transport: Transport
    marks: Marks
    tasks: bool
    extra: dict[str, str] = field(default_factory=dict)
    tables: Sequence[str] = ()
    return_options: str = ""
    bare: Mapping[str, str] = field(default_factory=dict)
    defines: bool = False

    @property
    def memories(self) -> str:
        """The memories and the host's functions, lowered."""
        lines = [call_memory(self.marks.calls)]
        if self.tasks:
            lines.append(stream_memory("s", STREAM_HEAP, self.marks.buffers, self.transport.chunks))
            lines.append(stream_memory("h", STREAM_HEAP, self.marks.pointed))
        lines += [
            f'(core func ${name} (canon lower (func $host "{function}") {_LOWER_OPTIONS[memory]}))'
            for name, (function, _, memory) in self.transport.wanted(tasks=self.tasks).items()
        ]
        lines += [f'(core func ${n} (canon lower (func $host "{f}")))' for n, f in self.bare.items()]
        return "\n".join(lines)

    @property
    def canons(self) -> str:
        """The built-ins."""
        started = f"(core func $started (canon task.return{self.return_options}))"
        return "\n".join([self.builtins.canons, *([_FIXED, started] if self.tasks else [])])

    def machine(self, functions: str) -> str:
        """Return the core module, with the core functions of the adapter's functions, and its instance."""
        streams = _STREAMS + BEGIN if self.tasks else ""
        text = machine(self._imports(), self.transport, streams + functions, tasks=self.tasks)
        return f"{text}\n{self._instance()}"

    @property
    def _fixed(self) -> dict[str, str]:
        lowered = {n: signature for n, (_, signature, _) in self.transport.wanted(tasks=self.tasks).items()}
        return lowered | (_FIXED_IMPORTS if self.tasks else {}) | self.extra | dict.fromkeys(self.bare, "")

    def _imports(self) -> str:
        lines = [f'(import "f" "{n}" (func ${n} {_signature(text)}))' for n, text in self._fixed.items()]
        return "\n".join(
            [
                '(import "m" "memory" (memory 1))',
                '(import "m" "top" (global $top (mut i32)))',
                '(import "m" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))',
                '(import "m" "reserve" (func $reserve (param i32)))',
                _STREAM_IMPORTS if self.tasks else "",
                _CHUNK_IMPORTS if self.tasks and self.transport.chunks else "",
                '(import "d" "taking" (global $taking (mut i32)))' if self.defines else "",
                *lines,
                self.builtins.imports,
                *self.builtins.functions,
                *self.tables,
            ]
        )

    def _instance(self) -> str:
        fixed = " ".join(f'(export "{n}" (func ${n}))' for n in self._fixed)
        memories = '(with "s" (instance $smemory)) (with "sh" (instance $hmemory))' if self.tasks else ""
        return f"""(core instance $machine (instantiate ${MACHINE}
  (with "m" (instance $memory)) {memories} {'(with "d" (instance $dtor))' if self.defines else ""}
  (with "f" (instance {fixed}))
  {self.builtins.exports}))"""
