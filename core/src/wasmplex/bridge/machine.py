"""The machine inside an adapter: core WebAssembly that does what the host tells it, step by step.

It knows no WIT type. A call's arguments go to the host as one block of memory, a result comes back as one
block, and everything that takes time (waiting, streams, futures) is a sequence of operations that the
host's `step` hands out, one at a time, each told the outcome of the one before. All state machines are in
Python; what is here is a loop over a branch table, an arena, and a list of task records.
"""

from __future__ import annotations

from wasmplex.bridge.protocol import fill
from wasmplex.bridge.transport import Transport
from wasmplex.engine.traps import MACHINE

__all__ = ["machine"]

_CORE = """
    (type $one (func (param i32) (result i32)))
    (type $none (func (param i32)))
    (type $new (func (result i64)))
    (type $copy (func (param i32 i32 i32) (result i32)))
    (type $copy1 (func (param i32 i32) (result i32)))

    (func $align
      (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16))))

    ;; An entry is (built-in << 1 | what, handle): 0 has the built-in turn the handle into a number, or a
    ;; number into a handle; 1 makes a stream or future and stores both its ends.
    (func $exchange (param $entry i32)
      (local $index i32) (local $ends i64)
      (local.set $index (i32.shr_u (i32.load (local.get $entry)) (i32.const 1)))
      (if (i32.eqz (i32.and (i32.load (local.get $entry)) (i32.const 1))) (then
        (i32.store (local.get $entry) (call_indirect $builtins (type $one)
          (i32.load offset=4 (local.get $entry)) (local.get $index)))
        (return)))
      (local.set $ends (call_indirect $builtins (type $new) (local.get $index)))
      (i32.store (local.get $entry) (i32.wrap_i64 (local.get $ends)))
      (i32.store offset=4 (local.get $entry) (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))))

    (func (export "post") (param i32) (global.set $top (i32.const @ARENA@)))

    ;; The host may ask for an exchange before it answers, and have the driver woken when it does.
    ;; Give what the host asks for until the block it returns is the result.
    (func $finish (param $at i32) (result i32)
      (local $entry i32) (local $end i32)
      (loop $again
        (if (i32.ne (i32.load (local.get $at)) (i32.const @FIRST_EXCHANGE@)) (then
          (if (i32.load offset=4 (local.get $at)) (then (call $rouse (i32.load offset=4 (local.get $at)))))
          (return (local.get $at))))
        (local.set $entry (i32.add (local.get $at) (i32.const @HEADER@)))
        (local.set $end (i32.add (local.get $entry)
          (i32.shl (i32.load offset=4 (local.get $at)) (i32.const 3))))
        (block $done (loop $each
          (br_if $done (i32.ge_u (local.get $entry) (local.get $end)))
          (call $exchange (local.get $entry))
          (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
          (br $each)))
        (local.set $at (call $resume (local.get $at) (i32.sub (local.get $end) (local.get $at))))
        (br $again))
      unreachable)
"""

# Without async functions and streams there are no tasks to rouse.
_NO_TASKS = "(func $rouse (param i32) unreachable)"

_TASKS = """
    (global $free (mut i32) (i32.const 0))
    (global $order (mut i32) (i32.const 0))  ;; where the order lies that is followed, 0 if in no list
    (global $records (mut i32) (i32.const @TASKS@))
    (global $driver (mut i32) (i32.const 48))  ;; no record until there is one: it does not sleep

    ;; Wake a task that sleeps; one that does not, or has been woken, is left alone.
    (func $rouse (param $task i32)
      (if (i32.load offset=@ASLEEP@ (local.get $task)) (then
        (i32.store offset=@ASLEEP@ (local.get $task) (i32.const 0))
        (drop (call $wake_write (i32.load offset=@WRITER@ (local.get $task)) (i32.const 0) (i32.const 1))))))

    (func $record (result i32)
      (local $task i32) (local $ends i64)
      (if (global.get $free) (then
        (local.set $task (global.get $free))
        (global.set $free (i32.load offset=@ASLEEP@ (local.get $task)))
        (i32.store offset=@ASLEEP@ (local.get $task) (i32.const 0))
        (return (local.get $task))))
      (local.set $task (global.get $records))
      (global.set $records (i32.add (local.get $task) (i32.const @TASK_BYTES@)))
      (if (i32.gt_u (global.get $records) (i32.const @BLOCKS@)) (then unreachable))
      (i32.store offset=@SET@ (local.get $task) (call $set_new))
      (local.set $ends (call $wake_new))
      (i32.store offset=@READER@ (local.get $task) (i32.wrap_i64 (local.get $ends)))
      (i32.store offset=@WRITER@ (local.get $task)
        (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (call $join (i32.load offset=@READER@ (local.get $task)) (i32.load offset=@SET@ (local.get $task)))
      (local.get $task))

    (func $release (param $task i32)
      (i32.store offset=@ASLEEP@ (local.get $task) (global.get $free))
      (global.set $free (local.get $task)))

    ;; Read the wake stream; return how to wait for that, or 0: a wake that came before is all it takes.
    (func $sleep (param $task i32) (result i32)
      (if (i32.ne (i32.const -1)
          (call $wake_read (i32.load offset=@READER@ (local.get $task)) (i32.const 0) (i32.const 1)))
        (then (return (i32.const 0))))
      (i32.store offset=@ASLEEP@ (local.get $task) (i32.const 1))
      (i32.or (i32.const 2) (i32.shl (i32.load offset=@SET@ (local.get $task)) (i32.const 4))))

    ;; Return the next order: one that lies ready, or what the host says. The outcome of the one before is put
    ;; into its place, if it has one.
    (func $next_order (param $task i32) (param $event i32) (param $p1 i32) (param $p2 i32) (result i64)
      (local $order i64) (local $at i32)
      (if (local.tee $at (global.get $order)) (then
        (i32.store offset=8 (local.get $at) (local.get $p1))
        (i32.store offset=12 (local.get $at) (local.get $p2))
        (if (i32.and (i32.load (local.get $at)) (i32.const @FOLLOWED@)) (then
          (global.set $order (local.tee $at (i32.add (local.get $at) (i32.const 16))))
          (return (i64.load (local.get $at)))))
        (global.set $order (i32.const 0))))
      (local.set $order
        (call $step (local.get $task) (local.get $event) (local.get $p1) (local.get $p2)))
      (if (i64.ne (local.get $order) (i64.const @LISTED@)) (then (return (local.get $order))))
      (global.set $order (i32.const @ORDERS@))
      (i64.load (i32.const @ORDERS@)))

    (func $run (param $task i32) (param $event i32) (param $p1 i32) (param $p2 i32) (result i32)
      (local $order i64) (local $index i32) (local $operand i32) (local $ends i64)
      (local $taken i32)
      (global.set $order (i32.const 0))
      (loop $again
        (local.set $order
          (call $next_order (local.get $task) (local.get $event) (local.get $p1) (local.get $p2)))
        (local.set $index
          (i32.and (i32.shr_u (i32.wrap_i64 (local.get $order)) (i32.const 8)) (i32.const 0xffffff)))
        (local.set $operand (i32.wrap_i64 (i64.shr_u (local.get $order) (i64.const 32))))
        (local.set $event (i32.const @EVENT_OPERATION@))
        (local.set $p1 (i32.const 0)) (local.set $p2 (i32.const 0))
        (block $all (block $copy_or_yield (block $forget (block $result (block $enter (block $top
        (block $finish (block $deliver (block $doze (block $grow (block $leave (block $join
        (block $emit (block $fill (block $copy_one (block $copy (block $drop
        (block $one (block $new (block $cancelled (block $next (block $wake (block $return
        (block $wait (block $yield (block $exit
          (br_table $exit $yield $wait $return $wake $next $cancelled $new $one $drop $copy $copy_one $fill
            $emit $join $leave $grow $doze
            $deliver $finish $top $enter $result $forget $copy_or_yield $all $all
            (i32.and (i32.wrap_i64 (local.get $order)) (i32.const 0x7f))))
          ;; exit
          (call $release (local.get $task))
          (return (i32.const 0)))
          ;; yield
          (return (i32.const 1)))
          ;; wait
          (local.set $index (call $sleep (local.get $task)))
          (if (local.get $index) (then (return (local.get $index))))
          (local.set $event (i32.const @EVENT_STREAM_READ@))
          (local.set $p1 (i32.load offset=@READER@ (local.get $task)))
          (br $again))
          ;; return
          (call_indirect $results (type $none)
            (call $finish (call $take (local.get $task))) (local.get $index))
          (global.set $top (i32.const @ARENA@))
          (local.set $event (i32.const @EVENT_RETURNED@))
          (br $again))
          ;; wake
          (call $rouse (local.get $operand))
          (br $again))
          ;; next
          (call $next)
          (br $again))
          ;; cancelled
          (call $task_cancel)
          (br $again))
          ;; new
          (local.set $ends (call_indirect $builtins (type $new) (local.get $index)))
          (local.set $p1 (i32.wrap_i64 (local.get $ends)))
          (local.set $p2 (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
          (br $again))
          ;; one
          (local.set $p1 (call_indirect $builtins (type $one) (local.get $operand) (local.get $index)))
          (br $again))
          ;; drop
          (call_indirect $builtins (type $none) (local.get $operand) (local.get $index))
          (br $again))
          ;; copy
          (local.set $ends (call $operands (local.get $task)))
          (local.set $p1 (call_indirect $builtins (type $copy) (local.get $operand)
            (i32.wrap_i64 (local.get $ends)) (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))
            (local.get $index)))
          (br $again))
          ;; copy one
          (local.set $ends (call $operands (local.get $task)))
          (local.set $p1 (call_indirect $builtins (type $copy1) (local.get $operand)
            (i32.wrap_i64 (local.get $ends)) (local.get $index)))
          (br $again))
          ;; fill
          (local.set $ends (call $operands (local.get $task)))
          (call $fill (local.get $index) (local.get $task) (i32.wrap_i64 (local.get $ends))
            (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
          (br $again))
          ;; emit
          (local.set $ends (call $operands (local.get $task)))
          (call $emit (local.get $index) (local.get $task) (i32.wrap_i64 (local.get $ends))
            (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
          (br $again))
          ;; join
          (call $join (local.get $operand) (i32.load offset=@SET@ (local.get $task)))
          (br $again))
          ;; leave
          (call $join (local.get $operand) (i32.const 0))
          (br $again))
        ;; grow
        (call $grow (local.get $index) (local.get $operand))
        (br $again))
        ;; doze
        (i32.store offset=@ASLEEP@ (local.get $task) (i32.const 1))
        (return (i32.or (i32.const 2) (i32.shl (i32.load offset=@SET@ (local.get $task)) (i32.const 4)))))
        ;; deliver
        (call $deliver (local.get $task) (local.get $operand))
        (br $again))
        ;; finish
        (call $started)
        (call $release (local.get $task))
        (return (i32.const 0)))
        ;; top
        (if (local.get $index) (then (global.set $top (i32.const @ARENA@))))
        (call $align)
        (local.set $p1 (global.get $top))
        (br $again))
        ;; enter
        (local.set $ends (call $enter (local.get $index) (local.get $task) (local.get $operand)))
        (local.set $p1 (i32.wrap_i64 (local.get $ends)))
        (local.set $p2 (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (br $again))
        ;; result
        (local.set $p1 (local.get $operand))
        (local.set $p2 (call $hand_over (local.get $index) (local.get $task) (local.get $operand)))
        (br $again))
        ;; forget
        (call $forget (local.get $operand))
        (br $again))
        ;; copy or yield
        (local.set $ends (call $operands (local.get $task)))
        (local.set $p1 (call_indirect $builtins (type $copy) (local.get $operand)
          (i32.wrap_i64 (local.get $ends)) (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))
          (local.get $index)))
        (if (i32.eq (i32.const -1) (local.get $p1)) (then (return (i32.const 1))))
        (br $again))
        ;; write all, read all
        (local.set $ends (call $operands (local.get $task)))
        (local.set $taken (i32.const 0))
        (loop $rest
          (local.set $p1 (call_indirect $builtins (type $copy) (local.get $operand)
            (i32.wrap_i64 (local.get $ends)) (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))
            (local.get $index)))
          (if (i32.eq (i32.const -1) (local.get $p1)) (then
            (local.set $p2 (local.get $taken))
            (br_if $again (i64.eq (i64.const @READ_ALL@)
              (i64.and (local.get $order) (i64.const 0x7f))))
            (i32.store offset=12 (global.get $order) (local.get $taken))
            (return (i32.const 1))))
          (local.set $taken (i32.add (local.get $taken) (i32.shr_u (local.get $p1) (i32.const 4))))
          (local.set $ends (i64.sub (local.get $ends) (i64.mul (i64.const 0xffffffff)
            (i64.extend_i32_u (i32.shr_u (local.get $p1) (i32.const 4))))))
          (br_if $rest (i32.and (i32.eqz (i32.and (local.get $p1) (i32.const 15)))
            (i64.ne (i64.shr_u (local.get $ends) (i64.const 32)) (i64.const 0)))))
        (local.set $p1 (i32.or (i32.shl (local.get $taken) (i32.const 4))
          (i32.and (local.get $p1) (i32.const 15))))
        (br $again))
      unreachable)

    ;; A task that yielded looks first whether one of its waitables has an event.
    (func (export "callback") (param $event i32) (param $p1 i32) (param $p2 i32) (result i32)
      (local $task i32)
      (local.set $task (call $context))
      (i32.store offset=@ASLEEP@ (local.get $task) (i32.const 0))
      (if (i32.eqz (local.get $event)) (then
        (local.set $event (call $poll (i32.load offset=@SET@ (local.get $task)) (i32.const @POLLED@)))
        (local.set $p1 (i32.load (i32.const @POLLED@)))
        (local.set $p2 (i32.load offset=4 (i32.const @POLLED@)))))
      ;; A cancelled task was asleep: nobody may wake its record for the next task that has it. What is in a
      ;; set cannot be cancelled.
      (if (i32.eq (local.get $event) (i32.const @EVENT_CANCELLED@)) (then
        (call $join (i32.load offset=@READER@ (local.get $task)) (i32.const 0))
        (drop (call $wake_cancel (i32.load offset=@READER@ (local.get $task))))
        (call $join (i32.load offset=@READER@ (local.get $task)) (i32.load offset=@SET@ (local.get $task)))))
      (if (local.get $event) (then (call $more_events (i32.load offset=@SET@ (local.get $task)))))
      (call $run (local.get $task) (local.get $event) (local.get $p1) (local.get $p2)))

    ;; Make a stream or future for another adapter; the driver may have something to write to it soon.
    (func $made (param $builtin i32) (result i32)
      (i64.store (i32.const @ENDS@) (call_indirect $builtins (type $new) (local.get $builtin)))
      (call $rouse (global.get $driver))
      (i32.const @ENDS@))

    (func (export "start") (result i32)
      (local $task i32)
      (local.set $task (call $record))
      (global.set $driver (local.get $task))
      (call $set_context (local.get $task))
      (call $started)
      (call $run (local.get $task) (i32.const @EVENT_START@) (i32.const 1) (i32.const 0)))

"""


def machine(imports: str, transport: Transport, functions: str, *, tasks: bool) -> str:
    """Return the core module of an adapter.

    :param imports: imports of the built-ins that this adapter uses, and their tables
    :param functions: one core function for each lifted function, and one for each result
    :param tasks: False for an adapter of synchronous functions without streams and futures
    """
    core = _CORE + (_TASKS if tasks else _NO_TASKS)
    calls = transport.calls + (transport.tasks if tasks else "")
    return fill(f"(core module ${MACHINE}\n{imports}{core}{calls}{functions})")
