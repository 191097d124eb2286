"""What import and export adapters have in common: the host's functions, built-ins, memories, the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.machine import MEMORY, machine, stream_memory

__all__ = ["GUEST_OPTIONS", "HOST_FUNCTIONS", "START", "STREAM_HEAP", "Parts", "host_instance"]

STREAM_HEAP = 1 << 22
"""Where data that stream elements point to begins in the second stream memory; buffers lie below."""

_U32, _STRING = "u32", "string"
HOST_FUNCTIONS: dict[str, tuple[tuple[tuple[str, str], ...], str | None]] = {
    "call": ((("fn", _U32), ("block", _STRING)), _STRING),
    "call-wait": ((("fn", _U32), ("block", _STRING)), _STRING),
    "submit": ((("fn", _U32), ("task", _U32), ("block", _STRING)), _STRING),
    "resume": ((("block", _STRING),), _STRING),
    "take": ((("task", _U32),), _STRING),
    "step": ((("task", _U32), ("event", _U32), ("a", _U32), ("b", _U32)), "u64"),
    "next": ((), None),
    "operands": ((("task", _U32),), "u64"),
    "chunk": ((("task", _U32),), _STRING),
    "emit": ((("task", _U32), ("block", _STRING)), None),
    "drop": ((("kind", _U32), ("rep", _U32)), None),
    "result": ((("task", _U32), ("at", _U32), ("block", _STRING)), None),
}
"""What the host serves: parameters and result of each."""


def host_instance() -> str:
    """Return the type of the host's instance."""
    lines = []
    for name, (params, result) in HOST_FUNCTIONS.items():
        texts = [f'(param "{param}" {type_})' for param, type_ in params]
        texts += [] if result is None else [f"(result {result})"]
        lines.append(f'(export "{name}" (func {" ".join(texts)}))')
    return "\n".join(lines)


START = """(func (export "start") async
  (canon lift (core func $machine "start") async (callback (core func $machine "callback"))))"""

GUEST_OPTIONS = "(memory $mem) (realloc $realloc)"
"""Options of what faces the guest; strings are UTF-8 there."""
_OPTIONS = "(memory $mem) (realloc $realloc) string-encoding=latin1+utf16"


def _lowers(tasks: bool) -> str:
    options = {"next": "", "operands": "", "step": "", "drop": ""}
    wanted = list(HOST_FUNCTIONS) if tasks else ["call", "call-wait", "resume", "drop"]
    lines = [
        f'(core func $h_{name} (canon lower (func $host "{name}") {options.get(name, _OPTIONS)}))'
        for name in wanted
        if name not in ("chunk", "emit")
    ]
    for memory in "sh" if tasks else "":
        stream_options = f"(memory ${memory}mem) (realloc ${memory}realloc) string-encoding=latin1+utf16"
        lines += [
            f'(core func $h_{name}_{memory} (canon lower (func $host "{name}") {stream_options}))'
            for name in ("chunk", "emit")
        ]
    return "\n".join(lines)


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
    "h_call": "i32 i32 i32 i32", "h_call_wait": "i32 i32 i32 i32", "h_submit": "i32 i32 i32 i32 i32",
    "h_resume": "i32 i32 i32", "h_take": "i32 i32", "step": "i32 i32 i32 i32 -> i64", "next": "",
    "operands": "i32 -> i64", "h_chunk_s": "i32 i32", "h_chunk_h": "i32 i32", "h_emit_s": "i32 i32 i32",
    "h_emit_h": "i32 i32 i32", "wake_new": "-> i64", "wake_read": "i32 i32 i32 -> i32",
    "wake_write": "i32 i32 i32 -> i32", "wake_cancel": "i32 -> i32", "set_new": "-> i32",
    "poll": "i32 i32 -> i32", "join": "i32 i32", "context": "-> i32", "set_context": "i32",
    "task_cancel": "", "started": "",
}  # fmt: skip
_LOWERED = {"h_call_wait": "h_call-wait", "step": "h_step", "next": "h_next", "operands": "h_operands"}

# A size of -1 is up to the end of the heap; growing to 0 is emptying the heap.
_STREAMS = """
    (func $fill (param $which i32) (param $task i32) (param $at i32) (param $room i32)
      (if (local.get $which)
        (then (global.set $htarget (local.get $at))
          (call $h_chunk_h (local.get $task) (i32.const 16)) (global.set $htarget (i32.const 0)))
        (else (global.set $starget (local.get $at))
          (call $h_chunk_s (local.get $task) (i32.const 16)) (global.set $starget (i32.const 0)))))
    (func $emit (param $which i32) (param $task i32) (param $at i32) (param $size i32)
      (if (i32.eq (local.get $size) (i32.const -1)) (then
        (local.set $size (i32.sub (global.get $hheap) (local.get $at)))))
      (if (i32.eqz (local.get $size)) (then (local.set $at (i32.const 0))))
      (if (local.get $which)
        (then (call $h_emit_h (local.get $task) (local.get $at) (local.get $size)))
        (else (call $h_emit_s (local.get $task) (local.get $at) (local.get $size)))))
    (func $grow (param $which i32) (param $end i32)
      (if (i32.eqz (local.get $end)) (then (global.set $hheap (i32.const HEAP)) (return)))
      (if (local.get $which)
        (then (call $hreserve (local.get $end)))
        (else (call $sreserve (local.get $end)))))
""".replace("HEAP", str(STREAM_HEAP))


_CALL_IMPORTS = {name: _FIXED_IMPORTS[name] for name in ("h_call", "h_call_wait", "h_resume")}

_STREAM_IMPORTS = """(import "s" "target" (global $starget (mut i32)))
(import "s" "reserve" (func $sreserve (param i32)))
(import "sh" "target" (global $htarget (mut i32)))
(import "sh" "reserve" (func $hreserve (param i32)))
(import "sh" "heap" (global $hheap (mut i32)))"""


def _signature(text: str) -> str:
    params, _, result = text.partition("->")
    return (f"(param {params.strip()})" if params.strip() else "") + (
        f" (result {result.strip()})" if result.strip() else ""
    )


@dataclass
class Parts:
    """The parts of one adapter that do not depend on its functions' types.

    :ivar tasks: False for an adapter of synchronous functions without streams and futures
    :ivar extra: core functions that the machine imports besides: name and signature, as ``$name``
    :ivar tables: further tables and functions of the machine
    :ivar return_options: options of the ``task.return`` of ``start`` or ``call``; those of its lift
    """

    builtins: Builtins
    tasks: bool
    extra: dict[str, str] = field(default_factory=dict)
    tables: Sequence[str] = ()
    return_options: str = ""

    @property
    def memories(self) -> str:
        """The memories and the host's functions, lowered."""
        streams = [stream_memory("s", STREAM_HEAP), stream_memory("h", STREAM_HEAP)] if self.tasks else []
        return "\n".join([MEMORY, *streams, _lowers(self.tasks)])

    @property
    def canons(self) -> str:
        """The built-ins."""
        started = f"(core func $started (canon task.return{self.return_options}))"
        return "\n".join([self.builtins.canons, *([_FIXED, started] if self.tasks else [])])

    def machine(self, functions: str) -> str:
        """Return the core module, with the core functions of the adapter's functions, and its instance."""
        text = machine(self._imports(), _STREAMS if self.tasks else "", functions, tasks=self.tasks)
        return f"{text}\n{self._instance()}"

    @property
    def _fixed(self) -> dict[str, str]:
        return (_FIXED_IMPORTS if self.tasks else _CALL_IMPORTS) | self.extra

    def _imports(self) -> str:
        lines = [f'(import "f" "{n}" (func ${n} {_signature(text)}))' for n, text in self._fixed.items()]
        return "\n".join(
            [
                '(import "m" "memory" (memory 1))',
                '(import "m" "top" (global $top (mut i32)))',
                '(import "m" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))',
                _STREAM_IMPORTS if self.tasks else "",
                *lines,
                self.builtins.imports,
                *self.tables,
            ]
        )

    def _instance(self) -> str:
        fixed = " ".join(f'(export "{n}" (func ${_LOWERED.get(n, n)}))' for n in self._fixed)
        memories = '(with "s" (instance $smemory)) (with "sh" (instance $hmemory))' if self.tasks else ""
        return f"""(core instance $machine (instantiate $Machine
  (with "m" (instance $memory)) {memories}
  (with "f" (instance {fixed}))
  {self.builtins.exports}))"""
