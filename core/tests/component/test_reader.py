from __future__ import annotations

from wasmplex.component import read
from wasmplex.component.shape import InstanceType
from wasmplex.wit import types as t
from wasmtime import wat2wasm

STRING = t.Primitive("string")


def test_a_labelled_import_with_a_resource() -> None:
    shape = read(
        wat2wasm("""(component
          (import "cache" (implements "wasi:keyvalue/store@0.2.0-draft") (instance
            (export "bucket" (type $b (sub resource)))
            (type $e (variant (case "no") (case "other" string)))
            (export "error" (type $e2 (eq $e)))
            (export "open" (func async (param "name" string) (result (result (own $b) (error $e2))))))))""")
    )
    (cache,) = shape.imports
    assert (cache.label, cache.interface) == ("cache", "wasi:keyvalue/store@0.2.0-draft")
    assert isinstance(cache.type, InstanceType)
    bucket = cache.type.resources["bucket"]
    assert (bucket.id, bucket.name, bucket.owner, bucket.imported) == (0, "bucket", "cache", True)
    error = t.VariantType((t.Case("no"), t.Case("other", STRING)))
    assert cache.type.functions["open"] == t.FuncType(
        (t.Param("name", STRING),), t.ResultType(t.Own(bucket), error), is_async=True
    )
    assert shape.proposals == {"component-model-async", "component-model-implements"}
