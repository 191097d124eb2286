from __future__ import annotations

from textwrap import dedent

from wasmplex.component import read
from wasmplex.engine.text import assemble
from wasmplex.wit.render import render


def wit(wat: str) -> str:
    return render(read(assemble(wat)))


def test_labels_share_one_interface_with_all_that_is_used_of_it() -> None:
    text = wit("""(component
      (import "cache" (implements "wasi:keyvalue/store@0.2.0-draft") (instance
        (export "bucket" (type $b (sub resource)))
        (export "[method]bucket.get"
          (func (param "self" (borrow $b)) (param "key" string) (result (list u8))))))
      (import "store" (implements "wasi:keyvalue/store@0.2.0-draft") (external-id "db\\22:a") (instance
        (export "bucket" (type $b (sub resource)))
        (type $e (variant (case "no-such-store") (case "other" string)))
        (export "error" (type $error (eq $e)))
        (export "open" (func async (param "name" string) (result (result (own $b) (error $error))))))))""")
    assert text == dedent("""\
        package root:component;

        world root {
          import cache: wasi:keyvalue/store@0.2.0-draft;
          @external-id("db\\":a")
          import store: wasi:keyvalue/store@0.2.0-draft;
        }
        package wasi:keyvalue@0.2.0-draft {
          interface store {
            resource bucket {
              get: func(key: string) -> list<u8>;
            }

            variant error {
              no-such-store,
              other(string),
            }

            open: async func(name: string) -> result<bucket, error>;
          }
        }
        """)


def test_types_are_taken_from_where_they_were_defined() -> None:
    text = wit("""(component
      (import "b:b/errors" (instance $errors
        (export "error" (type $e (sub resource)))
        (type $c (enum "x" "y"))
        (export "code" (type (eq $c)))))
      (alias export $errors "error" (type $error))
      (alias export $errors "code" (type $code))
      (import "a:a/use" (instance
        (alias outer 1 $error (type $e1))
        (alias outer 1 $code (type $c1))
        (export "error" (type $e2 (eq $e1)))
        (export "kind" (type $k (eq $c1)))
        (export "f" (func (param "stream" (list (own $e2))) (result (option $k)))))))""")
    assert text == dedent("""\
        package root:component;

        world root {
          import b:b/errors;
          import a:a/%use;
        }
        package b:b {
          interface errors {
            resource error;

            enum code {
              x,
              y,
            }
          }
        }


        package a:a {
          interface %use {
            use b:b/errors.{error, code as kind};

            f: func(%stream: list<error>) -> option<kind>;
          }
        }
        """)


def test_what_wit_has_no_words_for_is_a_comment() -> None:
    text = wit("""(component
      (import "m" (core module))
      (import "c" (component))
      (import "f" (func)))""")
    assert text == dedent("""\
        package root:component;

        world root {
          // import m: core module
          // import c: component
          import f: func();
        }
        """)
