;; Exports that come out of nested components: resources of the inside, of an import, and passed along.
(component
  (import "host:store/api" (instance $api
    (export "bucket" (type $bucket (sub resource)))
    (type $code' (enum "gone" "full"))
    (export "code" (type $code (eq $code')))
    (export "open" (func (param "name" string) (result (result (own $bucket) (error $code)))))))
  (alias export $api "bucket" (type $bucket))
  (alias export $api "code" (type $code))
  (core module $m
    (func (export "one") (param i32) (result i32) unreachable)
    (func (export "two") (param i32) (result i32) unreachable)
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))

  ;; A resource that this component makes, with a destructor, exported through a component that only shapes it.
  (core func $drop (canon resource.drop $bucket))
  (core module $d (func (export "dtor") (param i32)))
  (core instance $di (instantiate $d))
  (type $cursor (resource (rep i32) (dtor (core func $di "dtor"))))
  (type $step (record (field "at" (own $cursor)) (field "why" (option $code))))
  (func $walk (param "in" (borrow $bucket)) (result (own $cursor)) (canon lift (core func $i "one")))
  (func $next (param "self" (borrow $cursor)) (result u32) (canon lift (core func $i "two")))
  (component $shape
    (import "bucket" (type $b (sub resource)))
    (type $c0 (enum "gone" "full"))
    (import "code" (type $c' (eq $c0)))
    (import "cursor" (type $r (sub resource)))
    (import "walk" (func $w (param "in" (borrow $b)) (result (own $r))))
    (import "next" (func $n (param "self" (borrow $r)) (result u32)))
    (export $b1 "bucket" (type $b))
    (export $c1 "code" (type $c'))
    (export $r1 "cursor" (type $r))
    (type $s (record (field "at" (own $r1)) (field "why" (option $c1))))
    (export "step" (type $s))
    (export "walk" (func $w) (func (param "in" (borrow $b1)) (result (own $r1))))
    (export "[method]cursor.next" (func $n) (func (param "self" (borrow $r1)) (result u32))))
  (instance $shaped (instantiate $shape
    (with "bucket" (type $bucket))
    (with "code" (type $code))
    (with "cursor" (type $cursor))
    (with "walk" (func $walk))
    (with "next" (func $next))))
  (export $walker "host:walk/walker@0.1.0" (instance $shaped))

  ;; A second interface that uses the types of the first.
  (alias export $walker "cursor" (type $exported))
  (func $keep (param "cursor" (borrow $exported)) (result u32) (canon lift (core func $i "two")))
  (component $keeper
    (import "cursor" (type $r (sub resource)))
    (import "keep" (func $k (param "cursor" (borrow $r)) (result u32)))
    (export $r1 "cursor" (type $r))
    (export "keep" (func $k) (func (param "cursor" (borrow $r1)) (result u32))))
  (instance $kept (instantiate $keeper (with "cursor" (type $exported)) (with "keep" (func $keep))))
  (export "host:walk/keeper@0.1.0" (instance $kept))

  ;; The same component twice: what it makes itself is made twice.
  (component $maker
    (core module $m (func (export "f") (result i32) unreachable))
    (core instance $i (instantiate $m))
    (type $made (resource (rep i32)))
    (export $made1 "made" (type $made))
    (func $f (result (own $made1)) (canon lift (core func $i "f")))
    (export "make" (func $f)))
  (instance $first (instantiate $maker))
  (instance $second (instantiate $maker))
  (export "first" (instance $first))
  (export "second" (instance $second)))
