"""What a right configuration becomes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmplex.config import (
    BackendsConfig,
    BindingConfig,
    EngineConfig,
    EnvRef,
    FileRef,
    HostConfig,
    InstancesConfig,
    Location,
    Table,
    load,
    unknown_triggers,
)
from wasmplex.errors import ConfigError
from wasmplex.plugins.limits import Limits

FULL = """\
plugins = ["extra.py"]

[host]
name = "edge-1"
backend_idle_ttl = "5m"
backend_max_idle = 2

[engine]
wasm_proposals = ["threads", "-gc"]
cache = "cache"
transport = "memory"

[http]
listen = "127.0.0.1:8080"

[workload.shop]
component = "shop.wasm"
args = ["--fast"]
env = { LOG_LEVEL = "info", KEY = { file = "password.txt" } }
dirs = { "/data" = "./data" }
network = "allow"
allowed_hosts = ["example.com:443", "*.example.org", "[::1]:80", "*"]
limits = { memory = "64MiB", timeout = "250ms", max_body = 0 }
instances = { max = 8, reuse = 1, queue = 0 }
trigger.http = { path = "/" }
trigger.messaging.subjects = ["orders.>"]

[workload.shop.import.cache]
interface = "wasi:keyvalue"
backend = "memory"

[workload.shop.import.store]
interface = "wasi:keyvalue/store@0.2.0-draft"
backend = "redis@host-plugin-redis"
from = "labels:kv/store@0.1.0"
url = { env = "REDIS_URL" }
tls = { ca_file = "ca.pem", verify = true }

[workload.shop.default."wasmcloud:messaging"]
interfaces = ["consumer"]
version = "0.3.0"
backend = "nats"

[[workload.shop.host_interfaces]]
namespace = "wasi"
package = "keyvalue"
interfaces = ["store", "atomics"]
version = "0.2.0-draft"
name = "audit"
config = { backend = "in-memory", path = "audit.db" }

[[workload.shop.host_interfaces]]
namespace = "wasi"
package = "blobstore"
interfaces = []

[workload.idle]
component = "shop.wasm"
"""


def line_of(text: str, after: int = 0) -> str:
    """The place `after` lines below the first line of `FULL` that starts with `text`."""
    return f"host.toml:{[line.startswith(text) for line in FULL.splitlines()].index(True) + 1 + after}"


@pytest.fixture
def full(load_text: Callable[..., HostConfig]) -> HostConfig:
    return load_text(FULL)


def test_the_host(full: HostConfig, home: Path) -> None:
    assert full.path == home / "host.toml"
    assert full.base == home
    assert full.name == "edge-1"
    assert full.plugins == (home / "extra.py",)
    assert full.backends == BackendsConfig(300.0, 2)
    assert full.engine == EngineConfig(("threads", "-gc"), home / "cache", "memory")
    assert list(full.workloads) == ["shop", "idle"]
    http = full.triggers["http"]
    assert http.values == {"listen": "127.0.0.1:8080"}
    assert str(http.location) == "host.toml:13 (http)"
    assert str(http.where("listen")) == "host.toml:14 (http.listen)"
    assert str(http.where("missing")) == "host.toml:13 (http)"


def test_a_workload(full: HostConfig, home: Path) -> None:
    shop = full.workloads["shop"]
    assert shop.component == home / "shop.wasm"
    assert shop.args == ("--fast",)
    assert shop.env == {"LOG_LEVEL": "info", "KEY": FileRef(Path("password.txt"))}
    assert shop.dirs == {"/data": home / "data"}
    assert shop.network == "allow"
    assert shop.allowed_hosts == ("example.com:443", "*.example.org", "[::1]:80", "*")
    assert shop.limits == Limits(memory=64 * 2**20, timeout=0.25, max_body=0)
    assert shop.instances == InstancesConfig(max=8, reuse=1, queue=0)
    assert {name: table.values for name, (table,) in shop.triggers.items()} == {
        "http": {"path": "/"},
        "messaging": {"subjects": ["orders.>"]},
    }
    assert str(shop.triggers["messaging"][0].where("subjects", 0)).startswith("host.toml:26 ")
    assert str(shop.table.sub("env").where("KEY")) == "host.toml:19 (workload.shop.env.KEY)"


def test_what_is_not_said_has_the_defaults(full: HostConfig) -> None:
    idle = full.workloads["idle"]
    assert (idle.limits, idle.instances) == (Limits(), InstancesConfig())
    assert (idle.args, idle.env, idle.dirs, idle.allowed_hosts, idle.bindings) == ((), {}, {}, (), ())
    assert idle.network == "deny"


def test_bindings(full: HostConfig) -> None:
    def said(binding: BindingConfig) -> tuple[Any, ...]:
        return (
            binding.label, binding.package, binding.version, binding.interfaces, binding.backend,
            binding.from_, binding.settings.values,
        )  # fmt: skip

    assert [said(binding) for binding in full.workloads["shop"].bindings] == [
        ("cache", "wasi:keyvalue", None, None, "memory", None, {}),
        (
            "store", "wasi:keyvalue", "0.2.0-draft", frozenset({"store"}), "redis@host-plugin-redis",
            "labels:kv/store@0.1.0",
            {"url": EnvRef("REDIS_URL"), "tls": {"ca_file": "ca.pem", "verify": True}},
        ),
        (None, "wasmcloud:messaging", "0.3.0", frozenset({"consumer"}), "nats", None, {}),
        (
            "audit", "wasi:keyvalue", "0.2.0-draft", frozenset({"store", "atomics"}), "memory", None,
            {"path": "audit.db"},
        ),
        (None, "wasi:blobstore", None, None, None, None, {}),
    ]  # fmt: skip


def test_settings_know_the_places_of_all_keys_of_their_binding(full: HostConfig) -> None:
    _, store, _, audit, _ = full.workloads["shop"].bindings
    assert (
        str(store.settings.location)
        == line_of("[workload.shop.import.store]") + " (workload.shop.import.store)"
    )
    assert str(store.settings.where("backend")).startswith(line_of("[workload.shop.import.store]", 2))
    assert str(store.settings.where("tls", "ca_file")).endswith("(workload.shop.import.store.tls.ca_file)")
    assert str(audit.settings.location) == line_of("[[") + " (workload.shop.host_interfaces[0])"
    assert (
        str(audit.settings.where("path"))
        == line_of("config") + " (workload.shop.host_interfaces[0].config.path)"
    )
    assert str(audit.settings.where("version")).startswith(line_of("[[", 4))


def test_the_hosts_own_values_may_be_references(load_text: Callable[..., HostConfig]) -> None:
    config = load_text(
        '[host]\nname = { file = "password.txt" }\n[workload.shop]\ncomponent = { env = "APP" }\n'
        'limits.timeout = { env = "LIMIT" }\ninstances.max = { env = "MAX" }\n'
        'import.cache.backend = { env = "BACKEND" }',
        environ={"APP": "shop.wasm", "LIMIT": "2s", "MAX": "3", "BACKEND": "sqlite"},
    )
    assert config.name == "hunter2"
    shop = config.workloads["shop"]
    assert (shop.component.name, shop.limits.timeout, shop.instances.max) == ("shop.wasm", 2.0, 3)
    assert shop.bindings[0].backend == "sqlite"


def test_a_table_of_environment_variables_is_not_a_reference(load_text: Callable[..., HostConfig]) -> None:
    config = load_text('[workload.shop]\ncomponent = "shop.wasm"\nenv = { file = "x", }'.replace(", }", " }"))
    assert config.workloads["shop"].env == {"file": "x"}


def test_an_empty_file_is_a_host_without_workloads(load_text: Callable[..., HostConfig]) -> None:
    for name in ("host.toml", "host.yaml"):
        config = load_text("", name)
        assert (config.name, config.workloads, config.triggers) == ("wasmplex", {}, {})


def test_a_byte_order_mark_and_windows_line_ends(home: Path) -> None:
    (home / "host.toml").write_bytes(b"\xef\xbb\xbf[host]\r\nname = 'x'\r\n")
    assert load(Path("host.toml"), {}).name == "x"


def test_unknown_triggers(load_text: Callable[..., HostConfig], home: Path) -> None:
    config = load_text("[htpp]\n[workloads.shop]\n[http]\n")
    expected = [
        "error: unknown table \"htpp\"\n  at: host.toml:1 (htpp)\n  try: did you mean 'http'?",
        "error: unknown table \"workloads\"\n  at: host.toml:2 (workloads)\n  try: did you mean 'workload'?",
    ]
    assert [d.render() for d in unknown_triggers(config, {"http", "cron"})] == expected
    with pytest.raises(ConfigError) as caught:
        load(home, {}, triggers={"http", "cron"})
    assert len(caught.value.diagnostics) == 2


# --------------------------------------------------------------- TOML and YAML


def plain(value: Any) -> Any:
    """A model without its positions, which are those of the notation."""
    if isinstance(value, Table):
        return value.values
    if isinstance(value, Location):
        return value.path
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name != "path"}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def test_the_same_in_yaml(full: HostConfig, load_text: Callable[..., HostConfig]) -> None:
    assert plain(load_text(json.dumps(tomllib.loads(FULL)), "other.yaml")) == plain(full)


def test_yaml_as_people_write_it(load_text: Callable[..., HostConfig], full: HostConfig) -> None:
    text = """\
x: &limits {timeout: 250ms, memory: 64MiB}
http:
workload:
  shop:
    component: shop.wasm
    limits: {<<: *limits, memory: 1MiB}
    env: {MODE: on, AT: 12:30}
    trigger: {http: }
    hostInterfaces:
    - {namespace: wasi, package: keyvalue, name: cache, config: {backend: redis, db: 0o17}}
  other:
    component: shop.wasm
    limits: *limits
"""
    config = load_text(text.replace("x: &limits {", "cron: &limits {"), "host.yaml")
    shop = config.workloads["shop"]
    assert shop.limits == Limits(memory=2**20, timeout=0.25)
    assert config.workloads["other"].limits == Limits(memory=2**26, timeout=0.25)
    assert shop.env == {"MODE": "on", "AT": "12:30"}
    assert shop.triggers["http"][0].values == {}
    assert config.triggers["http"].values == {}
    assert [(b.label, b.backend, b.settings.values) for b in shop.bindings] == [
        ("cache", "redis", {"db": 15})
    ]
    assert str(shop.bindings[0].settings.where("db")).startswith("host.yaml:10 ")


SECTIONS: dict[str, Any] = {
    "name": st.text(max_size=5) | st.none() | st.booleans(),
    "count": st.integers(-2, 3) | st.booleans() | st.floats() | st.just(10**400),
    "duration": st.sampled_from(["1s", "5 m", "", "x", "1e9d", "-1s"]) | st.floats() | st.integers(-1, 5),
    "label": st.sampled_from(["cache", "Cache", "a-b", "wasi:keyvalue", "wasi:keyvalue/store", "", "a.b"]),
}
VALUE = st.recursive(
    st.one_of(*SECTIONS.values()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SECTIONS["label"], inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "component", "args", "env", "dirs", "network", "limits", "instances", "trigger", "import", "default",
    "host_interfaces", "backend", "version", "interface", "interfaces", "from", "memory", "timeout", "max",
    "namespace", "package", "name", "config", "file", "host", "engine", "plugins", "workload", "http",
]  # fmt: skip
TREE = st.recursive(
    VALUE,
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYS) | SECTIONS["label"], inner, max_size=5)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=25,
)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value if item is not None] if isinstance(value, list) else value


def outcome(path: Path) -> Any:
    try:
        return plain(load(path, {}))
    except ConfigError as error:
        found = error.diagnostics
    assert all(len(d.render().splitlines()) <= 5 for d in found)
    return sorted((d.what, d.why) for d in found)


@given(st.dictionaries(st.sampled_from(KEYS), TREE, max_size=4), TREE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_toml_and_yaml_agree(home: Path, tree: dict[str, Any], workload: Any) -> None:
    tree = without_none({**tree, "workload": {"shop": workload}})
    toml, yaml = home / "config.toml", home / "config.yaml"
    toml.write_text("\n".join(f"{key} = {as_toml(value)}" for key, value in tree.items()), encoding="utf-8")
    yaml.write_text(as_yaml(tree), encoding="utf-8")
    found = outcome(toml), outcome(yaml)
    assert found[0] == found[1]


def as_yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {as_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    return json.dumps(value)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.sampled_from([".toml", ".yaml"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_load_or_are_refused(home: Path, data: bytes, suffix: str) -> None:
    path = home / f"any{suffix}"
    path.write_bytes(data)
    outcome(path)


YAML_TOKENS = [
    "a", ":", " ", "\n", "- ", "&a ", "*a", "<<", "!!int ", "!x ", "{", "}", "[", "]", ",", "'", '"', "|\n",
    "? ", "---\n", "%YAML 1.2\n", "#", "\\", "1", "~", "  ", "\t", '"\\ud800"', '"\\UFFFFFFFF"', "workload",
]  # fmt: skip


@given(st.lists(st.sampled_from(YAML_TOKENS), max_size=25).map("".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_anything_that_looks_like_yaml_loads_or_is_refused(home: Path, text: str) -> None:
    path = home / "any.yaml"
    path.write_text(text, encoding="utf-8")
    outcome(path)


@pytest.mark.parametrize("key", [name for name in Limits.model_fields if name not in {"timeout", "max_body"}])
def test_every_limit_of_the_table_reaches_the_workload_and_none_may_be_nothing(
    load_text: Callable[..., HostConfig], key: str
) -> None:
    text = 'workload.shop.component = "shop.wasm"\nworkload.shop.limits.{} = {}\n'
    assert getattr(load_text(text.format(key, 12)).workloads["shop"].limits, key) == 12
    with pytest.raises(ConfigError, match=rf"limits\.{key}"):
        load_text(text.format(key, 0))
