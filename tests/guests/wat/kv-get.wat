;; One call to one label, nothing else: `get(key)` opens the bucket "b" of `store` and returns what is under the key.
(component
  (import "store" (implements "wasi:keyvalue/store@0.2.0-draft") (instance $store
    (export "bucket" (type $bucket (sub resource)))
    (type $error-type (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $error-type)))
    (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error)))))
    (export "[method]bucket.get" (func (param "self" (borrow $bucket)) (param "key" string)
      (result (result (option (list u8)) (error $error)))))))
  (alias export $store "bucket" (type $bucket))

  (core module $memory
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      ;; (top + align - 1) & -align
      (global.set $top (i32.and
        (i32.sub (i32.add (global.get $top) (local.get 2)) (i32.const 1))
        (i32.sub (i32.const 0) (local.get 2))))
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get 3))))
    (func (export "reset") (param i32) (global.set $top (i32.const 1024)))
    (data (i32.const 0) "b"))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $open (canon lower (func $store "open") (memory $mem) (realloc $realloc)))
  (core func $get (canon lower (func $store "[method]bucket.get") (memory $mem) (realloc $realloc)))
  (core func $drop (canon resource.drop $bucket))

  (core module $code
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "get" (func $get (param i32 i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    (import "env" "memory" (memory 2))
    ;; Results of `open` lie at 16: tag, handle. Those of `get` at 32: tag, some, pointer, size.
    (func (export "get") (param $key i32) (param $size i32) (result i32)
      (local $bucket i32)
      (call $open (i32.const 0) (i32.const 1) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (local.set $bucket (i32.load (i32.const 20)))
      (call $get (local.get $bucket) (local.get $key) (local.get $size) (i32.const 32))
      (if (i32.load8_u (i32.const 32)) (then unreachable))
      (call $drop (local.get $bucket))
      (i32.const 36)))
  (core instance $code (instantiate $code
    (with "host" (instance (export "open" (func $open)) (export "get" (func $get)) (export "drop" (func $drop))))
    (with "env" (instance $memory))))
  (func (export "get") (param "key" string) (result (option (list u8)))
    (canon lift (core func $code "get") (memory $mem) (realloc $realloc)
      (post-return (core func $memory "reset")))))
