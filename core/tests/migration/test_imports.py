"""Manifests of other hosts: what they become, what is said of the rest, and that none is too odd."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmplex.component import read
from wasmplex.component.shape import Shape
from wasmplex.errors import ConfigError, WasmplexError
from wasmplex.migration import Imported, read_manifest
from wasmplex.migration.drafts import WorkloadDraft
from wasmplex.migration.outbound import allowed_hosts

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
SPIN = "spin_manifest_version = 2\n"
HTTP = {"namespace": "wasi", "package": "http", "interfaces": ["incoming-handler"]}


def there(_: str) -> Shape | None:
    return None


def workload(
    folder: Path, look: Any = there, component: Any = None, kind: str = "WorkloadDeployment", **spec: Any
) -> Imported:
    own = {"components": [{"name": "api", "image": "ghcr.io/acme/api:1", **(component or {})}], **spec}
    whole = own if kind == "Workload" else {"replicas": 3, "template": {"spec": own}}
    document = {
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "shop"},
        "spec": whole,
    }
    path = folder / "workload.yaml"
    path.write_text("kind: Service\n---\n" + json.dumps(document))
    return read_manifest(path, look)


def made(imported: Imported) -> dict[str, Any]:
    return tomllib.loads(imported.text())["workload"]  # type: ignore[no-any-return]


def spin(folder: Path, component: str = "", more: str = "", runtime: str | None = None) -> Imported:
    path = folder / "spin.toml"
    path.write_text(
        "spin_manifest_version = 2\napplication.name = 'app'\n[[trigger.http]]\nroute = '/...'\n"
        f"component = 'api'\n[component.api]\nsource = 'api.wasm'\n{component}\n{more}"
    )
    if runtime is None:
        return read_manifest(path, there)
    (folder / "runtime.toml").write_text(runtime)
    return read_manifest(path, there, folder / "runtime.toml")


# ---------------------------------------------------------------- wasmCloud


@pytest.mark.parametrize("kind", ["WorkloadDeployment", "WorkloadReplicaSet", "Workload"])
def test_each_kind_of_workload(tmp_path: Path, kind: str) -> None:
    imported = workload(tmp_path, kind=kind, hostInterfaces=[HTTP])
    assert made(imported)["shop"]["trigger"] == {"http": {}}
    assert any("run --workers 3" in note for note in imported.notes) == (kind != "Workload")


def test_entries_for_messaging(tmp_path: Path) -> None:
    entry = {"namespace": "wasmcloud", "package": "messaging", "interfaces": ["handler"]}
    component = {"localResources": {"config": {"subscriptions": "a.*, b", "consumer_group": "g"}}}
    table = made(workload(tmp_path, component=component, hostInterfaces=[entry]))["shop"]
    assert table["trigger"]["messaging"] == {"subjects": ["a.*", "b"], "queue_group": "g", "backend": "nats"}
    both = entry | {
        "interfaces": ["handler", "consumer"],
        "config": {"subscriptions": "a", "backend": "in-memory"},
    }
    table = made(workload(tmp_path, hostInterfaces=[both]))["shop"]
    assert table["trigger"]["messaging"] == {"subjects": ["a"]}
    assert table["default"] == {"wasmcloud:messaging": {"backend": "memory"}}


def test_a_component_that_is_there_has_no_more_than_it_needs(tmp_path: Path) -> None:
    kv = {
        "namespace": "wasi",
        "package": "keyvalue",
        "interfaces": ["store"],
        "config": {"backend": "in-memory"},
    }
    entries = [HTTP, kv, kv | {"name": "cache"}, kv | {"name": "other"}, kv | {"package": "blobstore"}]
    shape = read((GUESTS / "kv.wasm").read_bytes())
    imported = workload(tmp_path, lambda _: shape, hostInterfaces=entries)
    assert made(imported)["shop"]["import"] == {"cache": {"backend": "memory"}}
    assert not {"default", "trigger"} & made(imported)["shop"].keys()
    (said,) = [note for note in imported.notes if "left out" in note]
    assert said == (
        "api.wasm does not import wasi:keyvalue, other, wasi:blobstore: their entries are left out; "
        "it imports cache, store"
    )


def test_a_component_that_fits_no_entry_is_doubted_once(tmp_path: Path) -> None:
    kv = {"namespace": "wasi", "package": "keyvalue", "interfaces": ["store"]}
    first = kv | {"name": "first", "secretFrom": [{"name": "creds"}]}
    shape = read((GUESTS / "kv.wasm").read_bytes())
    imported = workload(tmp_path, lambda _: shape, hostInterfaces=[first, kv | {"name": "second"}])
    assert not any("Secret" in note for note in imported.notes)
    (said,) = [note for note in imported.notes if "left out" in note]
    assert said == (
        "api.wasm does not import first, second: their entries are left out; it imports cache, store. "
        "Is it the right file?"
    )


def test_what_has_no_counterpart_is_said(tmp_path: Path) -> None:
    resources = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/v", "readOnly": True},
            {"name": "gone", "mountPath": "/g"},
        ],
        "cpuLimit": 1,
    }
    component = {"poolSize": 4, "maxInvocations": 9, "localResources": resources}
    imported = workload(
        tmp_path, component=component, service={"image": "x"},
        volumes=[{"name": "v", "hostPath": {"path": "/srv"}}],
        hostInterfaces=[HTTP | {"config": {"host-aliases": "a.internal, b.internal", "odd": "1"}}],
    )  # fmt: skip
    table = made(imported)["shop"]
    assert (table["instances"], table["dirs"]) == ({"max": 4, "reuse": 9}, {"/v": "/srv"})
    assert table["trigger"]["http"] == [{"host": "a.internal"}, {"host": "b.internal"}]
    text = "\n".join(imported.notes)
    for words in ("spec.template.spec.service", "cpuLimit", "read-only", "volume gone", "odd of wasi:http"):
        assert words in text, text


def test_no_secret_is_copied(tmp_path: Path) -> None:
    """Not from a URL, and not from a Secret in the same file."""
    entry = {
        "namespace": "wasmcloud", "package": "keyvalue", "interfaces": ["store"], "name": "cache",
        "config": {"backend": "redis", "url": "redis://u:hunter2@h"}, "secretFrom": [{"name": "creds"}],
    }  # fmt: skip
    env = {"config": {"DB": "postgres://u:hunter2@h/x"}, "secretFrom": [{"name": "creds"}]}
    secret = {"kind": "Secret", "metadata": {"name": "creds"}, "stringData": {"token": "hunter2"}}
    workload(tmp_path, component={"localResources": {"environment": env}}, hostInterfaces=[entry])
    path = tmp_path / "workload.yaml"
    path.write_text(f"{path.read_text()}\n---\n{json.dumps(secret)}")
    imported = read_manifest(path, there)
    assert "hunter2" not in imported.text()
    assert made(imported)["shop"]["env"] == {"DB": {"env": "SHOP_DB"}, "token": {"env": "CREDS_TOKEN"}}
    assert made(imported)["shop"]["import"]["cache"]["url"] == {"env": "SHOP_CACHE_URL"}


# ---------------------------------------------------------------- Spin


def test_routes_stores_and_variables_of_spin(tmp_path: Path) -> None:
    component = (
        "key_value_stores = ['a', 'b']\n"
        "variables = { token = '{{ t }}', text = 'x {{ v }}', both = '{{ t }}{{ v }}' }"
    )
    more = (
        "[variables]\nt = { required = true }\nv = { default = 'y' }\n"
        "[[trigger.http]]\nroute = '/users/:id'\ncomponent = 'api'\n"
        "[[trigger.http]]\nroute = { private = true }\ncomponent = 'api'\n[[trigger.redis]]\nchannel = 'c'\n"
    )
    imported = spin(tmp_path, component, more, "[key_value_store.a]\ntype = 'azure_cosmos'\n")
    table = made(imported)["api"]
    assert table["trigger"]["http"] == [{"path": "/"}, {"path": "/users"}]
    assert table["env"] == {"TOKEN": {"env": "SPIN_VARIABLE_T"}, "TEXT": "x y", "BOTH": "{{ t }}y"}
    assert table["default"]["wasi:keyvalue"]["buckets"]["a"] == {"backend": "memory"}
    text = "\n".join(imported.notes)
    for words in ("private route", "trigger.redis", "azure_cosmos", "inside of a text", "/users/:id"):
        assert words in text, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example.com", "api.example.com:443"),
        ("http://*.example.com", "*.example.com:80"),
        ("*://example.com:4567", "example.com:4567"),
        ("http://localhost:*", "localhost"),
        ("https://*:*", "*"),
        ("https://[::1]:8443", "[::1]:8443"),
        ("redis://cache", ""),
        ("http://self", ""),
        ("https://{{ host }}", ""),
    ],
)
def test_what_a_component_of_spin_may_reach(text: str, expected: str) -> None:
    result = Imported("spin.toml")
    assert allowed_hosts([text], [], result) == ([expected] if expected else [])
    assert bool(result.notes) == (not expected)


# ---------------------------------------------------------------- whatever it is


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("w.yaml", "kind: Deployment\n", "is no manifest that can be imported"),
        ("w.yaml", "apiVersion: runtime.wasmcloud.dev/v1\nkind: Workload\nspec: 3\n", "spec is not a table"),
        ("w.yaml", "apiVersion: runtime.wasmcloud.dev/v1\nkind: Workload\nspec: {}\n", "has no components"),
        ("w.yaml", "a: [\n", "is not valid YAML"),
        ("s.toml", "spin_manifest_version = 1\n", "only version 2 is read"),
        ("s.toml", SPIN, 'the key "application" is missing'),
        ("s.toml", f"{SPIN}application.name = 'x'\n[[trigger.http]]\ncomponent = 'y'\n", "'y'"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_says_why(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_manifest(tmp_path / name, there)
    assert words in caught.value.render()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["components", "hostInterfaces", "volumes", "name", "image", "localResources", "config", "secretFrom"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), entry=VALUES, name=VALUES)
def test_no_manifest_is_too_odd(tmp_path: Path, spec: dict[str, Any], entry: Any, name: Any) -> None:
    interfaces = [
        HTTP | {"config": entry},
        {"namespace": "wasi", "package": "keyvalue", "config": entry, "name": name},
    ]
    for more in (spec, {"hostInterfaces": interfaces}):
        try:
            text = workload(tmp_path, **more).text()
        except WasmplexError:
            continue
        tomllib.loads(text)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1), st.text() | st.lists(st.text() | st.booleans()), max_size=4),
    st.text(),
)
def test_what_is_written_is_read_back(values: dict[str, Any], note: str) -> None:
    imported = Imported(note)
    imported.note(note)
    imported.workloads.append(WorkloadDraft("a", note, {"env": values}, {("import", note or "x"): values}))
    table = made(imported)["a"]
    assert (table["component"], table["env"], table["import"][note or "x"]) == (note, values, values)
