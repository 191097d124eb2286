;; A guest that does what no guest should, one export for each. Lifted without `async` where it does not
;; matter: such a function may block in the middle, so that it reads from top to bottom.
(component
  (import "tests:mischief/host" (instance $host
    (export "thing" (type $thing (sub resource)))
    (export "[method]thing.look" (func async (param "self" (borrow $thing)) (param "n" u32) (result u32)))
    (export "open" (func async (result (own $thing))))
    (export "open-late" (func async (result (own $thing))))
    (export "keep" (func async (param "t" (own $thing)) (result u32)))
    (export "stall" (func))
    (export "slow" (func async (param "n" u32) (result u32)))
    (export "give" (func (param "n" u32) (result (stream u8))))
    (export "promise" (func (result (future u32))))
    (export "soon" (func (result (future u32))))
    (export "eat" (func async (param "s" (stream u8)) (result u32)))
    (export "nibble" (func async (param "s" (stream u8)) (result u32)))
    (export "expect" (func async (param "f" (future u32)) (result u32)))
    (export "pause" (func async))))
  (alias export $host "thing" (type $thing))
  (type $bytes (stream u8))
  (type $number (future u32))

  (core module $Memory
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $look (canon lower (func $host "[method]thing.look") async (memory $mem)))
  (core func $look-now (canon lower (func $host "[method]thing.look")))
  (core func $open (canon lower (func $host "open")))
  (core func $open-late (canon lower (func $host "open-late") async (memory $mem)))
  (core func $keep (canon lower (func $host "keep") async (memory $mem)))
  (core func $stall (canon lower (func $host "stall")))
  (core func $slow (canon lower (func $host "slow") async (memory $mem)))
  (core func $give (canon lower (func $host "give")))
  (core func $promise (canon lower (func $host "promise")))
  (core func $soon (canon lower (func $host "soon")))
  (core func $nibble (canon lower (func $host "nibble") async (memory $mem)))
  (core func $pause (canon lower (func $host "pause")))
  (core func $eat (canon lower (func $host "eat") async (memory $mem)))
  (core func $expect (canon lower (func $host "expect") async (memory $mem)))
  (core func $drop (canon resource.drop $thing))
  (core func $s-new (canon stream.new $bytes))
  (core func $s-read-async (canon stream.read $bytes async (memory $mem)))
  (core func $s-write-async (canon stream.write $bytes async (memory $mem)))
  (core func $s-drop-readable (canon stream.drop-readable $bytes))
  (core func $s-drop-writable (canon stream.drop-writable $bytes))
  (core func $f-new (canon future.new $number))
  (core func $f-read-async (canon future.read $number async (memory $mem)))
  (core func $f-drop-readable (canon future.drop-readable $number))
  (core func $f-drop-writable (canon future.drop-writable $number))
  (core func $set-new (canon waitable-set.new))
  (core func $set-wait (canon waitable-set.wait (memory $mem)))
  (core func $set-drop (canon waitable-set.drop))
  (core func $join (canon waitable.join))
  (core func $sub-drop (canon subtask.drop))
  (core func $sub-cancel (canon subtask.cancel))
  (core func $return (canon task.return (result u32)))
  (core func $return-stream (canon task.return (result $bytes)))

  (core module $Code
    (import "m" "memory" (memory 1))
    (import "h" "look" (func $look (param i32 i32 i32) (result i32)))
    (import "h" "look-now" (func $look-now (param i32 i32) (result i32)))
    (import "h" "open" (func $open (result i32)))
    (import "h" "open-late" (func $open-late (param i32) (result i32)))
    (import "h" "keep" (func $keep (param i32 i32) (result i32)))
    (import "h" "stall" (func $stall))
    (import "h" "slow" (func $slow (param i32 i32) (result i32)))
    (import "h" "give" (func $give (param i32) (result i32)))
    (import "h" "promise" (func $promise (result i32)))
    (import "h" "soon" (func $soon (result i32)))
    (import "h" "nibble" (func $nibble (param i32 i32) (result i32)))
    (import "h" "pause" (func $pause))
    (import "h" "eat" (func $eat (param i32 i32) (result i32)))
    (import "h" "expect" (func $expect (param i32 i32) (result i32)))
    (import "h" "drop" (func $drop (param i32)))
    (import "h" "s-new" (func $s-new (result i64)))
    (import "h" "s-read-async" (func $s-read-async (param i32 i32 i32) (result i32)))
    (import "h" "s-write-async" (func $s-write-async (param i32 i32 i32) (result i32)))
    (import "h" "s-drop-readable" (func $s-drop-readable (param i32)))
    (import "h" "s-drop-writable" (func $s-drop-writable (param i32)))
    (import "h" "f-new" (func $f-new (result i64)))
    (import "h" "f-read-async" (func $f-read-async (param i32 i32) (result i32)))
    (import "h" "f-drop-readable" (func $f-drop-readable (param i32)))
    (import "h" "f-drop-writable" (func $f-drop-writable (param i32)))
    (import "h" "set-new" (func $set-new (result i32)))
    (import "h" "set-wait" (func $set-wait (param i32 i32) (result i32)))
    (import "h" "set-drop" (func $set-drop (param i32)))
    (import "h" "join" (func $join (param i32 i32)))
    (import "h" "sub-drop" (func $sub-drop (param i32)))
    (import "h" "sub-cancel" (func $sub-cancel (param i32) (result i32)))
    (import "h" "return" (func $return (param i32)))
    (import "h" "return-stream" (func $return-stream (param i32)))

    ;; 0 .. 1024 results and events; 1024 .. handles that are kept; 32768 .. bytes of streams

    (func $writable (param $ends i64) (result i32)
      (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))

    (func $subtask (param $status i32) (result i32) (i32.shr_u (local.get $status) (i32.const 4)))

    ;; Start calls that do not return at once; keep their subtasks.
    (func $start (param $n i32)
      (local $i i32)
      (loop $more
        (if (i32.lt_u (local.get $i) (local.get $n)) (then
          (i32.store offset=1024 (i32.shl (local.get $i) (i32.const 2))
            (call $subtask (call $slow (local.get $i) (i32.const 512))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $more)))))

    ;; Wait for one event of one waitable; return what the event says.
    (func $await (param $waitable i32) (result i32)
      (local $set i32)
      (local.set $set (call $set-new))
      (call $join (local.get $waitable) (local.get $set))
      (drop (call $set-wait (local.get $set) (i32.const 16)))
      (call $join (local.get $waitable) (i32.const 0))
      (call $set-drop (local.get $set))
      (i32.load (i32.const 20)))

    (func $done (param $waitable i32) (param $code i32) (result i32)
      (if (result i32) (i32.eq (local.get $code) (i32.const -1))
        (then (call $await (local.get $waitable)))
        (else (local.get $code))))
    (func $s-read (param $s i32) (param $at i32) (param $n i32) (result i32)
      (call $done (local.get $s) (call $s-read-async (local.get $s) (local.get $at) (local.get $n))))
    (func $s-write (param $s i32) (param $at i32) (param $n i32) (result i32)
      (call $done (local.get $s) (call $s-write-async (local.get $s) (local.get $at) (local.get $n))))
    (func $f-read (param $f i32) (param $at i32) (result i32)
      (call $done (local.get $f) (call $f-read-async (local.get $f) (local.get $at))))

    ;; Have everything there is at once: calls in flight, things, a stream and a future of the host, a call
    ;; that reads a stream of ours, which has been written to, and one that awaits a future of ours.
    (func $litter (param $n i32)
      (local $i i32) (local $ends i64)
      (call $start (local.get $n))
      (loop $more
        (if (i32.lt_u (local.get $i) (local.get $n)) (then
          (drop (call $look (call $open) (local.get $i) (i32.const 512)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $more))))
      (drop (call $s-read (call $give (i32.const -1)) (i32.const 32768) (i32.const 16)))
      (drop (call $s-read-async (call $give (i32.const 0)) (i32.const 32768) (i32.const 16)))
      (drop (call $f-read-async (call $promise) (i32.const 64)))
      (local.set $ends (call $s-new))
      (drop (call $eat (i32.wrap_i64 (local.get $ends)) (i32.const 512)))
      (drop (call $s-write (call $writable (local.get $ends)) (i32.const 32768) (i32.const 100)))
      (local.set $ends (call $f-new))
      (drop (call $expect (i32.wrap_i64 (local.get $ends)) (i32.const 512))))

    ;; ---------------------------------------------------------------- what is right

    (func $fine (export "fine") (param $n i32) (result i32)
      (local $thing i32)
      (local.set $thing (call $open))
      (call $look-now (local.get $thing) (local.get $n))
      (call $drop (local.get $thing)))

    ;; Read a stream and a future to their ends.
    (func $read-all (export "read-all") (param $n i32) (result i32)
      (local $s i32) (local $f i32)
      (local.set $s (call $give (i32.const 3)))
      (loop $more
        (br_if $more (i32.ne (i32.const 1)
          (i32.and (i32.const 15) (call $s-read (local.get $s) (i32.const 32768) (i32.const 16))))))
      (call $s-drop-readable (local.get $s))
      (local.set $f (call $soon))
      (drop (call $f-read (local.get $f) (i32.const 64)))
      (call $f-drop-readable (local.get $f))
      (local.get $n))

    ;; ---------------------------------------------------------------- handles

    (func $drop-lent (export "drop-lent") (param $n i32) (result i32)
      (local $thing i32)
      (local.set $thing (call $open))
      (drop (call $look (local.get $thing) (i32.const 1) (i32.const 512)))
      (call $drop (local.get $thing))
      (i32.const 0))

    (func $drop-twice (export "drop-twice") (param $n i32) (result i32)
      (local $thing i32)
      (local.set $thing (call $open))
      (call $drop (local.get $thing))
      (call $drop (local.get $thing))
      (i32.const 0))

    (func $use-dropped (export "use-dropped") (param $n i32) (result i32)
      (local $thing i32)
      (local.set $thing (call $open))
      (call $drop (local.get $thing))
      (call $look-now (local.get $thing) (i32.const 1)))

    (func $drop-running (export "drop-running") (param $n i32) (result i32)
      (call $start (i32.const 3))
      (call $sub-drop (i32.load (i32.const 1024)))
      (i32.const 0))

    ;; ---------------------------------------------------------------- streams and futures after their end

    (func $read-dropped-stream (export "read-dropped-stream") (param $n i32) (result i32)
      (local $s i32)
      (local.set $s (call $give (i32.const -1)))
      (drop (call $s-read (local.get $s) (i32.const 32768) (i32.const 16)))
      (call $s-drop-readable (local.get $s))
      (call $s-read (local.get $s) (i32.const 32768) (i32.const 16)))

    (func $read-ended-stream (export "read-ended-stream") (param $n i32) (result i32)
      (local $s i32)
      (local.set $s (call $give (i32.const 1)))
      (loop $more
        (br_if $more (i32.ne (i32.const 1)
          (i32.and (i32.const 15) (call $s-read (local.get $s) (i32.const 32768) (i32.const 16))))))
      (call $s-read (local.get $s) (i32.const 32768) (i32.const 16)))

    (func $read-dropped-future (export "read-dropped-future") (param $n i32) (result i32)
      (local $f i32)
      (local.set $f (call $promise))
      (call $f-drop-readable (local.get $f))
      (call $f-read (local.get $f) (i32.const 64)))

    (func $read-twice (export "read-twice") (param $n i32) (result i32)
      (local $s i32)
      (local.set $s (call $give (i32.const 0)))
      (drop (call $s-read-async (local.get $s) (i32.const 32768) (i32.const 16)))
      (call $s-read-async (local.get $s) (i32.const 32768) (i32.const 16)))

    (func $drop-reading (export "drop-reading") (param $n i32) (result i32)
      (local $s i32)
      (local.set $s (call $give (i32.const 0)))
      (drop (call $s-read-async (local.get $s) (i32.const 32768) (i32.const 16)))
      (call $s-drop-readable (local.get $s))
      (i32.const 0))

    (func $drop-unwritten-future (export "drop-unwritten-future") (param $n i32) (result i32)
      (local $ends i64)
      (local.set $ends (call $f-new))
      (drop (call $expect (i32.wrap_i64 (local.get $ends)) (i32.const 512)))
      (call $f-drop-writable (call $writable (local.get $ends)))
      (i32.const 0))

    ;; ---------------------------------------------------------------- half of it

    (func $half-read (export "half-read") (param $n i32) (result i32)
      (local $s i32)
      (local.set $s (call $give (i32.const -1)))
      (drop (call $s-read (local.get $s) (i32.const 32768) (i32.const 16)))
      (call $s-drop-readable (local.get $s))
      (i32.const 16))

    (func $unread (export "unread") (param $n i32) (result i32)
      (call $s-drop-readable (call $give (i32.const 0)))
      (call $s-drop-readable (call $give (i32.const -1)))
      (call $f-drop-readable (call $promise))
      (i32.const 0))

    (func $half-written (export "half-written") (param $n i32) (result i32)
      (local $ends i64) (local $w i32) (local $call i32)
      (local.set $ends (call $s-new))
      (local.set $call (call $subtask (call $eat (i32.wrap_i64 (local.get $ends)) (i32.const 512))))
      (local.set $w (call $writable (local.get $ends)))
      (drop (call $s-write (local.get $w) (i32.const 32768) (i32.const 100)))
      (call $s-drop-writable (local.get $w))
      (drop (call $await (local.get $call)))
      (call $sub-drop (local.get $call))
      (i32.load (i32.const 512)))

    ;; ---------------------------------------------------------------- calls that nobody waits for

    (func $leak (export "leak") (param $n i32) (result i32) (call $litter (local.get $n)) (local.get $n))

    (func $trap-in-flight (export "trap-in-flight") (param $n i32) (result i32) (call $litter (local.get $n)) unreachable)

    (func $loop-in-flight (export "loop-in-flight") (param $n i32) (result i32)
      (call $litter (local.get $n)) (loop $ever (br $ever)) (i32.const 0))

    (func $wait-in-flight (export "wait-in-flight") (param $n i32) (result i32)
      (call $litter (local.get $n)) (drop (call $await (i32.load (i32.const 1024)))) (i32.const 0))

    ;; ---------------------------------------------------------------- cancelling

    (func $cancel (export "cancel") (param $n i32) (result i32)
      (local $i i32) (local $at i32) (local $cancelled i32)
      (call $start (local.get $n))
      (loop $more
        (if (i32.lt_u (local.get $i) (local.get $n)) (then
          (local.set $at (i32.load offset=1024 (i32.shl (local.get $i) (i32.const 2))))
          (local.set $cancelled (i32.add (local.get $cancelled)
            (i32.ge_u (call $sub-cancel (local.get $at)) (i32.const 3))))
          (call $sub-drop (local.get $at))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $more))))
      (local.get $cancelled))

    ;; Cancel a call that waits for us to write; the stream is ours to close.
    (func $cancel-reader (export "cancel-reader") (param $n i32) (result i32)
      (local $ends i64) (local $w i32) (local $call i32)
      (local.set $ends (call $s-new))
      (local.set $call (call $subtask (call $eat (i32.wrap_i64 (local.get $ends)) (i32.const 512))))
      (local.set $w (call $writable (local.get $ends)))
      (drop (call $s-write (local.get $w) (i32.const 32768) (i32.const 100)))
      (call $pause)
      (drop (call $sub-cancel (local.get $call)))
      (call $sub-drop (local.get $call))
      (call $write-in-vain (local.get $w))
      (i32.const 7))

    ;; Nobody reads any more: writing ends with "dropped".
    (func $write-in-vain (param $w i32)
      (loop $more
        (br_if $more (i32.ne (i32.const 1)
          (i32.and (i32.const 15) (call $s-write (local.get $w) (i32.const 32768) (i32.const 100))))))
      (call $s-drop-writable (local.get $w)))

    ;; The same with a host function that gives up reading by itself.
    (func $nibbled (export "nibbled") (param $n i32) (result i32)
      (local $ends i64) (local $call i32)
      (local.set $ends (call $s-new))
      (local.set $call (call $subtask (call $nibble (i32.wrap_i64 (local.get $ends)) (i32.const 512))))
      (drop (call $await (local.get $call)))
      (call $sub-drop (local.get $call))
      (call $write-in-vain (call $writable (local.get $ends)))
      (i32.const 7))

    ;; The same while a write of ours is pending, for the host has not begun to read.
    (func $cancel-writing (export "cancel-writing") (param $n i32) (result i32)
      (local $ends i64) (local $w i32) (local $call i32)
      (local.set $ends (call $s-new))
      (local.set $w (call $writable (local.get $ends)))
      (drop (call $s-write-async (local.get $w) (i32.const 32768) (i32.const 100)))
      (local.set $call (call $subtask (call $eat (i32.wrap_i64 (local.get $ends)) (i32.const 512))))
      (drop (call $sub-cancel (local.get $call)))
      (call $sub-drop (local.get $call))
      (drop (call $await (local.get $w)))
      (call $s-drop-writable (local.get $w))
      (i32.const 7))

    (func $cancel-expecting (export "cancel-expecting") (param $n i32) (result i32)
      (local $ends i64) (local $call i32)
      (local.set $ends (call $f-new))
      (local.set $call (call $subtask (call $expect (i32.wrap_i64 (local.get $ends)) (i32.const 512))))
      (call $pause)
      (drop (call $sub-cancel (local.get $call)))
      (call $sub-drop (local.get $call))
      (i32.const 7))

    (func $cancel-twice (export "cancel-twice") (param $n i32) (result i32)
      (call $start (i32.const 1))
      (drop (call $sub-cancel (i32.load (i32.const 1024))))
      (call $sub-cancel (i32.load (i32.const 1024))))

    ;; The call has ended on the host's side, and we are not told yet.
    (func $trap-unaware (export "trap-unaware") (param $n i32) (result i32)
      (drop (call $open-late (i32.const 512))) (call $stall) unreachable)

    (func $cancel-unaware (export "cancel-unaware") (param $n i32) (result i32)
      (local $call i32) (local $status i32)
      (local.set $call (call $subtask (call $open-late (i32.const 512))))
      (call $stall)
      (local.set $status (call $sub-cancel (local.get $call)))
      (call $sub-drop (local.get $call))
      (local.get $status))

    ;; The call has a thing of ours, and perhaps has not begun.
    (func $trap-handed (export "trap-handed") (param $n i32) (result i32)
      (drop (call $keep (call $open) (i32.const 512))) unreachable)

    (func $cancel-handed (export "cancel-handed") (param $n i32) (result i32)
      (local $call i32) (local $status i32)
      (local.set $call (call $subtask (call $keep (call $open) (i32.const 512))))
      (local.set $status (call $sub-cancel (local.get $call)))
      (call $sub-drop (local.get $call))
      (local.get $status))

    ;; ---------------------------------------------------------------- ending, lifted with a callback

    (func (export "callback") (param i32 i32 i32) (result i32) unreachable)
    (func $no-return (export "no-return") (param $n i32) (result i32) (call $start (local.get $n)) (i32.const 0))
    (func $return-twice (export "return-twice") (param $n i32) (result i32)
      (call $start (local.get $n)) (call $return (i32.const 1)) (call $return (i32.const 2)) (i32.const 0))
    (func $return-early (export "return-early") (param $n i32) (result i32)
      (local $set i32)
      (call $start (local.get $n))
      (local.set $set (call $set-new))
      (call $join (i32.load (i32.const 1024)) (local.get $set))
      (call $return (local.get $n))
      (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))
    (func $wait-for-nothing (export "wait-for-nothing") (param $n i32) (result i32)
      (i32.or (i32.const 2) (i32.shl (call $set-new) (i32.const 4))))
    (func $no-code (export "no-code") (param $n i32) (result i32) (call $start (local.get $n)) (i32.const 15))

    ;; ---------------------------------------------------------------- streams as results

    (func $tell (param $n i32) (result i32)
      (local $ends i64)
      (local.set $ends (call $s-new))
      (call $return-stream (i32.wrap_i64 (local.get $ends)))
      (i32.store (i32.const 1024) (call $writable (local.get $ends)))
      (drop (call $s-write-async (i32.load (i32.const 1024)) (i32.const 32768) (i32.const 100)))
      (i32.store (i32.const 1028) (call $set-new))
      (call $join (i32.load (i32.const 1024)) (i32.load (i32.const 1028)))
      (i32.or (i32.const 2) (i32.shl (i32.load (i32.const 1028)) (i32.const 4))))
    (func (export "tell-and-trap") (param $n i32) (result i32)
      (call $start (local.get $n)) (call $tell (local.get $n)))
    ;; Never to be written to, and never to be dropped.
    (func (export "tell-and-sleep") (param $n i32) (result i32)
      (local $set i32)
      (call $start (local.get $n))
      (call $return-stream (i32.wrap_i64 (call $s-new)))
      (local.set $set (call $set-new))
      (call $join (i32.load (i32.const 1024)) (local.get $set))
      (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))

    ;; WRAPPERS
  )

  (core instance $code (instantiate $Code
    (with "m" (instance $memory))
    (with "h" (instance
      (export "look" (func $look)) (export "look-now" (func $look-now)) (export "open" (func $open))
      (export "open-late" (func $open-late)) (export "keep" (func $keep)) (export "stall" (func $stall)) (export "slow" (func $slow)) (export "give" (func $give)) (export "promise" (func $promise))
      (export "soon" (func $soon))
      (export "nibble" (func $nibble)) (export "pause" (func $pause)) (export "eat" (func $eat)) (export "expect" (func $expect)) (export "drop" (func $drop))
      (export "s-new" (func $s-new))
      (export "s-read-async" (func $s-read-async))
      (export "s-write-async" (func $s-write-async))
      (export "s-drop-readable" (func $s-drop-readable)) (export "s-drop-writable" (func $s-drop-writable))
      (export "f-new" (func $f-new))
      (export "f-read-async" (func $f-read-async)) (export "f-drop-readable" (func $f-drop-readable))
      (export "f-drop-writable" (func $f-drop-writable)) (export "set-new" (func $set-new))
      (export "set-wait" (func $set-wait)) (export "set-drop" (func $set-drop)) (export "join" (func $join))
      (export "sub-drop" (func $sub-drop)) (export "sub-cancel" (func $sub-cancel))
      (export "return" (func $return)) (export "return-stream" (func $return-stream))))))


  ;; EXPORTS
)
