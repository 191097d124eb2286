from __future__ import annotations

import pytest
from wasmplex.component import read, relabel, rename
from wasmplex.engine.text import assemble
from wasmplex.errors import ComponentError
from wasmtime import Config, Engine
from wasmtime.component import Component

STORE = "wasi:keyvalue/store@0.2.0-draft"
TWO = assemble("""(component
  (import "host:io/log" (func $log (param "text" string)))
  (import "labels:kv/cache@0.1.0" (instance $cache
    (export "bucket" (type $b (sub resource)))
    (export "open" (func (param "name" string) (result (own $b))))))
  (alias export $cache "bucket" (type $bucket))
  (import "labels:kv/store@0.1.0" (external-id "main db") (instance $store
    (export "bucket" (type $b (sub resource)))
    (export "open" (func (param "name" string) (result (own $b))))))
  (import "labels:kv/watch" (instance
    (alias outer 1 $bucket (type $b))
    (export "bucket" (type (eq $b)))))
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (export "again" (func $f)))""")


def compile_with_wasmtime(wasm: bytes) -> Component:
    config = Config()
    config.wasm_component_model_implements = True
    return Component(Engine(config), wasm)


def test_imports_get_labels_and_all_else_stays() -> None:
    wasm = relabel(
        TWO, {"labels:kv/cache@0.1.0": ("cache", STORE), "labels:kv/store@0.1.0": ("store", STORE)}
    )
    before, after = read(TWO), read(wasm)
    labels = {i.name: (i.label, i.interface, i.external_id) for i in after.imports}
    assert labels == {
        "host:io/log": (None, "host:io/log", None),
        "cache": ("cache", STORE, None),
        "store": ("store", STORE, "main db"),
        "labels:kv/watch": (None, "labels:kv/watch", None),
    }
    assert [i.type for i in before.imports] == [i.type for i in after.imports]
    assert before.exports == after.exports
    compile_with_wasmtime(wasm)


def test_a_label_can_be_changed_and_labels_can_be_swapped() -> None:
    once = relabel(TWO, {"labels:kv/cache@0.1.0": ("a", STORE), "labels:kv/store@0.1.0": ("b", STORE)})
    twice = relabel(once, {"a": ("b", STORE), "b": ("a", "x:y/z")})
    assert [(i.label, i.interface) for i in read(twice).imports[1:3]] == [("b", STORE), ("a", "x:y/z")]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ComponentError) as caught:
        relabel(
            TWO,
            {
                "labels:kv/cahce@0.1.0": ("cache", STORE),
                "host:io/log": ("log", STORE),
                "labels:kv/cache@0.1.0": ("Not a label", STORE),
                "labels:kv/store@0.1.0": ("store", "store"),
                "labels:kv/watch": ("STORE", STORE),
            },
        )
    text = caught.value.render()
    assert len(caught.value.diagnostics) == 5
    assert "did you mean 'labels:kv/cache@0.1.0'?" in text
    assert "the import 'host:io/log' cannot get a label" in text
    assert "'Not a label' is not a label" in text
    assert "'store' is not the id of an interface" in text
    assert "the label 'STORE' would be there twice" in text
    with pytest.raises(ComponentError) as caught:
        relabel(TWO, {"cahce": ("cache", "cahce")})  # as without an interface
    assert len(caught.value.diagnostics) == 1


def test_a_label_that_another_import_has_is_refused() -> None:
    once = relabel(TWO, {"labels:kv/cache@0.1.0": ("cache", STORE)})
    with pytest.raises(ComponentError, match="the label 'cache' would be there twice"):
        relabel(once, {"labels:kv/store@0.1.0": ("cache", STORE)})


def test_rename_by_name_and_by_prefix() -> None:
    wasm = rename(TWO, {"labels:": "my:", "again": "once-more"})
    shape = read(wasm)
    assert [i.name for i in shape.imports] == [
        "host:io/log", "my:kv/cache@0.1.0", "my:kv/store@0.1.0", "my:kv/watch",
    ]  # fmt: skip
    assert [e.name for e in shape.exports] == ["once-more"]
    compile_with_wasmtime(wasm)


def test_rename_refuses_what_is_not_there_or_would_be_twice() -> None:
    with pytest.raises(ComponentError, match="did you mean 'again'"):
        rename(TWO, {"agan": "x"})
    with pytest.raises(ComponentError, match="two imports or exports called"):
        rename(TWO, {"labels:kv/watch": "labels:kv/store@0.1.0"})


def test_a_core_module_cannot_be_relabelled() -> None:
    with pytest.raises(ComponentError, match="core WebAssembly module"):
        relabel(assemble("(module)"), {})


def test_rewriting_nothing_gives_the_same_bytes() -> None:
    assert relabel(TWO, {}) == TWO
