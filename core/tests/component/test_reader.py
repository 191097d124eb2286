from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from wasmplex.component import InstanceType, read
from wasmplex.component.shape import (
    ComponentType,
    CoreModuleType,
    DefinedType,
    Export,
    Import,
    NamedType,
    ValueExtern,
)
from wasmplex.engine.text import assemble
from wasmplex.wit import types as t

ORACLE = Path(__file__).parents[3] / "tests" / "guests" / "oracle"
STRING = t.Primitive("string")


def instance(extern: object) -> InstanceType:
    assert isinstance(extern, InstanceType)
    return extern


def test_a_labelled_import_with_a_resource() -> None:
    shape = read(
        assemble("""(component
          (import "cache" (implements "wasi:keyvalue/store@0.2.0-draft") (instance
            (export "bucket" (type $b (sub resource)))
            (type $e (variant (case "no") (case "other" string)))
            (export "error" (type $e2 (eq $e)))
            (export "open" (func async (param "name" string) (result (result (own $b) (error $e2))))))))""")
    )
    (cache,) = shape.imports
    assert (cache.label, cache.interface) == ("cache", "wasi:keyvalue/store@0.2.0-draft")
    bucket = instance(cache.type).resources["bucket"]
    assert (bucket.id, bucket.name, bucket.owner, bucket.imported) == (0, "bucket", "cache", True)
    error = t.VariantType((t.Case("no"), t.Case("other", STRING)))
    assert instance(cache.type).functions["open"] == t.FuncType(
        (t.Param("name", STRING),), t.ResultType(t.Own(bucket), error), is_async=True
    )
    assert shape.proposals == {"component-model-async", "component-model-implements"}


def test_every_kind_of_import_and_export() -> None:
    shape = read(
        assemble("""(component
          (import "m" (core module (type (func)) (import "a" "b" (func (type 0)))))
          (import "c" (component (import "x" (func)) (export "y" (func))))
          (import "v" (value string))
          (import "r" (type $r (sub resource)))
          (type $rec (record (field "x" u8)))
          (import "t" (type (eq $rec)))
          (import "f" (func (param "r" (own $r))))
          (import "i" (instance))
          (type $ft (func))
          (type $it (instance))
          (type $ct (component))
          (export "ft" (type $ft))
          (export "it" (type $it))
          (export "ct" (type $ct)))""")
    )
    externs: tuple[Import | Export, ...] = (*shape.imports, *shape.exports)
    kinds = {i.name: i.type for i in externs}
    resource = t.Resource(0)
    assert kinds == {
        "m": CoreModuleType(),
        "c": ComponentType(),
        "v": ValueExtern(STRING),
        "r": resource,
        "t": NamedType(t.Record((t.Field("x", t.Primitive("u8")),))),
        "f": t.FuncType((t.Param("r", t.Own(resource)),), None),
        "i": InstanceType(),
        "ft": DefinedType("func"),
        "it": DefinedType("instance"),
        "ct": DefinedType("component"),
    }
    assert all(i.label is None and i.interface == i.name for i in externs)


def test_resources_keep_their_identity_through_nested_components() -> None:
    shape = read(assemble((ORACLE / "composed.wat").read_text()))
    (api,) = (instance(i.type) for i in shape.imports)
    walker, keeper, first, second = (instance(e.type) for e in shape.exports)
    bucket, cursor = api.resources["bucket"], walker.resources["cursor"]
    assert walker.resources["bucket"] == bucket
    assert keeper.resources["cursor"] == cursor
    assert len({bucket.id, cursor.id, first.resources["made"].id, second.resources["made"].id}) == 4
    assert (cursor.name, cursor.owner, cursor.imported) == ("cursor", "host:walk/walker@0.1.0", False)
    assert walker.functions["walk"] == t.FuncType((t.Param("in", t.Borrow(bucket)),), t.Own(cursor))
    assert first.functions["make"].result == t.Own(first.resources["made"])


def test_named_types_say_what_they_are_an_alias_of() -> None:
    shape = read(assemble((ORACLE / "composed.wat").read_text()))
    (api,) = (instance(i.type) for i in shape.imports)
    code = api.exports["code"]
    alias = instance(shape.exports[0].type).exports["code"]
    assert isinstance(alias, NamedType)
    assert alias.source is code
    step = instance(shape.exports[0].type).exports["step"]
    assert isinstance(step, NamedType)
    assert step.source is None
    # What uses a name holds the very object of that name.
    assert isinstance(step.type, t.Record)
    why = step.type.fields[1].type
    assert isinstance(why, t.Option)
    assert why.element is alias.type


def test_a_canonical_name_keeps_the_rest_of_its_version() -> None:
    shape = read(gzip.decompress((ORACLE / "wasi-canonical.wasm.gz").read_bytes()))
    assert ("wasi:io/poll@0.2", ".12") in {(i.name, i.version_suffix) for i in shape.imports}
    assert shape.proposals == {"component-model-canonical-names"}


@pytest.mark.parametrize(
    ("text", "proposals"),
    [
        ("", set()),
        ('(import "f" (func async))', {"component-model-async"}),
        ('(import "f" (func (param "x" (stream u8))))', {"component-model-async"}),
        ('(import "f" (func (param "x" (map u8 u8))))', {"component-model-map"}),
        ('(import "f" (func (param "x" (list u8 4))))', {"component-model-fixed-length-lists"}),
        ('(import "f" (func (param "x" error-context)))', {"component-model-error-context"}),
        ('(import "a:b:c/d" (func))', {"component-model-nested-names"}),
        ('(import "a:b/c/d@1.0.0" (func))', {"component-model-nested-names"}),
        ('(import "a:b/c@1.0.0" (func))', set()),
        ('(import "f" (external-id "x y") (func))', {"component-model-implements"}),
        ('(import "f" (instance (export "[get]x" (func (result u8)))))', {"component-model-accessors"}),
        ("(type (resource (rep i64)))", {"component-model-memory64"}),
        ("(core func (canon task.cancel))", {"component-model-async"}),
        ("(core func (canon thread.index))", {"component-model-threading"}),
        (
            "(core func (canon subtask.cancel async))",
            {"component-model-async", "component-model-more-async-builtins"},
        ),
        ("(core module (memory 1))", set()),
        ("(core module (memory i64 1))", {"memory64"}),
        ("(core module (memory 1 2 shared))", {"threads"}),
        ("(core module (memory 1) (memory 1))", {"multi-memory"}),
        ('(core module (import "a" "b" (memory 1)) (memory 1))', {"multi-memory"}),
        ("(core module (memory 1 (pagesize 1)))", {"custom-page-sizes"}),
        ("(core module (type (func)) (tag (type 0)))", {"exception-handling"}),
        ("(core module (type (struct (field i8))))", {"gc"}),
        ("(core module (type (func (param anyref))))", {"gc"}),
        ("(core module (type $f (func)) (type (func (param (ref $f)))))", {"function-references"}),
        ('(core module (@custom "target_features" "\\01+\\09tail-call"))', {"tail-call"}),
        ("(component (component (core module (memory i64 1))))", {"memory64"}),
    ],
)
def test_the_proposals_that_a_component_needs(text: str, proposals: set[str]) -> None:
    assert read(assemble(f"(component {text})")).proposals == proposals


def test_the_deprecated_form_of_a_name_means_the_same() -> None:
    wasm = assemble('(component (import "a:b/c" (func)))')
    old = wasm.replace(b"\x00\x05a:b/c", b"\x01\x05a:b/c")
    assert old != wasm
    assert read(old) == read(wasm)
