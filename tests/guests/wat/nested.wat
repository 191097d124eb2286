;; A component of components: the inner one is instantiated twice and the outer one exports both instances.
(component
  (component $counter
    (core module $code
      (global $count (mut i32) (i32.const 0))
      (func (export "next") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (global.get $count)))
    (core instance $instance (instantiate $code))
    (func (export "next") (result u32) (canon lift (core func $instance "next"))))
  (instance $one (instantiate $counter))
  (instance $two (instantiate $counter))
  (export "first" (instance $one))
  (export "second" (instance $two)))
