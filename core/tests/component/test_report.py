from __future__ import annotations

import json

from wasmplex.component import read
from wasmplex.component.report import Row, as_dict, rows
from wasmplex.engine.text import assemble

SHAPE = read(
    assemble("""(component
      (import "host:files/types@1.0.0" (instance $types
        (export "file" (type $file (sub resource)))
        (type $e (enum "gone" "busy"))
        (export "error" (type $error (eq $e)))
        (export "[method]file.read" (func async (param "self" (borrow $file)) (result (list u8))))))
      (alias export $types "file" (type $file))
      (alias export $types "error" (type $error))
      (import "cold" (implements "host:files/store@1.0.0") (external-id "s3") (instance
        (alias outer 1 $file (type $f1))
        (alias outer 1 $error (type $e1))
        (export "file" (type $f (eq $f1)))
        (export "failure" (type $e (eq $e1)))
        (type $n (tuple string u64))
        (export "entry" (type $entry (eq $n)))
        (export "open" (func (param "name" string) (result (result (own $f) (error $e)))))
        (export "list" (func async (result (list $entry))))))
      (import "log" (func (param "line" string)))
      (import "lib" (core module)))""")
)


def test_rows_tell_labels_from_interfaces() -> None:
    assert rows(SHAPE.imports) == [
        Row("", "host:files/types@1.0.0", "instance", 1, 1, 1),
        Row("cold", "host:files/store@1.0.0", "instance", 2, 1, 1),
        Row("log", "", "func", 1, 0, 0),
        Row("lib", "", "core module", 0, 0, 0),
    ]
    assert rows(SHAPE.exports) == []


def test_the_dictionary_can_be_written_as_json_and_says_all() -> None:
    said = json.loads(json.dumps(as_dict(SHAPE)))
    types, cold, log, lib = said["imports"]
    assert types["types"] == {
        "file": {"kind": "resource", "resource": 0},
        "error": {"kind": "enum", "cases": ["gone", "busy"]},
    }
    assert cold == {
        "name": "cold",
        "label": "cold",
        "interface": "host:files/store@1.0.0",
        "external_id": "s3",
        "kind": "instance",
        "types": {
            "file": {"kind": "resource", "resource": 0, "from": "host:files/types@1.0.0", "name": "file"},
            "failure": {
                "kind": "enum", "cases": ["gone", "busy"], "from": "host:files/types@1.0.0", "name": "error",
            },
            "entry": {"kind": "alias", "type": "tuple<string, u64>"},
        },
        "functions": {
            "open": {
                "async": False,
                "params": [{"name": "name", "type": "string"}],
                "result": "result<file, failure>",
            },
            "list": {"async": True, "params": [], "result": "list<entry>"},
        },
    }  # fmt: skip
    assert (log["kind"], log["params"]) == ("func", [{"name": "line", "type": "string"}])
    assert lib == {"name": "lib", "kind": "core module"}
    assert said["proposals"] == ["component-model-async", "component-model-implements"]
    assert said["unknown_sections"] == []
