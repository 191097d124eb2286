;; Imports example:geo/lookup under the labels `coarse` and `fine` and forwards each: coarse(place), fine(place).
(component
  (type $lookup (instance
    (type $fields (record (field "latitude" f64) (field "longitude" f64)))
    (export "position" (type $position (eq $fields)))
    (export "find" (func (param "place" string) (result (result (option $position) (error string)))))))
  (import "coarse" (implements "example:geo/lookup@1.0.0") (instance $coarse (type $lookup)))
  (import "fine" (implements "example:geo/lookup@1.0.0") (instance $fine (type $lookup)))

  (core module $memory
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get 3)))))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $coarse-find (canon lower (func $coarse "find") (memory $mem) (realloc $realloc)))
  (core func $fine-find (canon lower (func $fine "find") (memory $mem) (realloc $realloc)))

  (core module $code
    (import "host" "coarse" (func $coarse (param i32 i32 i32)))
    (import "host" "fine" (func $fine (param i32 i32 i32)))
    (func (export "coarse") (param i32 i32) (result i32)
      (call $coarse (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16))
    (func (export "fine") (param i32 i32) (result i32)
      (call $fine (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16)))
  (core instance $code (instantiate $code
    (with "host" (instance (export "coarse" (func $coarse-find)) (export "fine" (func $fine-find))))))

  (type $fields (record (field "latitude" f64) (field "longitude" f64)))
  (export $position "position" (type $fields))
  (func $coarse-lifted (param "place" string) (result (result (option $position) (error string)))
    (canon lift (core func $code "coarse") (memory $mem) (realloc $realloc)))
  (func $fine-lifted (param "place" string) (result (result (option $position) (error string)))
    (canon lift (core func $code "fine") (memory $mem) (realloc $realloc)))
  (export "coarse" (func $coarse-lifted))
  (export "fine" (func $fine-lifted)))
