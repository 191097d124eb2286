"""wasmCloud's words for who is called with messages."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from wasmplex.config import HostConfig, load
from wasmplex.errors import UsageError
from wasmplex.host import Host

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
ENTRY = """
[workload.shop]
component = "{component}"
default."wasmcloud:keyvalue".backend = "memory"
import.audit.backend = "memory"
[[workload.shop.host_interfaces]]
namespace = "wasmcloud"
package = "messaging"
interfaces = {interfaces}
config = {{ backend = "in-memory", {config} }}
"""


def loaded(tmp_path: Path, config: str, interfaces: str = '["handler"]') -> HostConfig:
    path = tmp_path / "host.toml"
    path.write_text(ENTRY.format(component=GUESTS / "handler.wasm", interfaces=interfaces, config=config))
    return load(path)


def test_an_entry_is_a_table_of_the_trigger(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, 'subscriptions = "a.*, b.>", consumer_group = "g", max_in_flight = "7", max_messages = 9'
    )
    (table,) = config.workloads["shop"].triggers["messaging"]
    assert table.values == {
        "subjects": ["a.*", "b.>"], "queue_group": "g", "max_in_flight": 7, "backend": "memory",
        "max_messages": 9,
    }  # fmt: skip
    assert table.where("subjects").line == 10
    assert [binding.label for binding in config.workloads["shop"].bindings] == ["audit", None]


def test_a_number_of_thousands_of_digits_is_left_to_the_trigger(tmp_path: Path) -> None:
    config = loaded(tmp_path, f'subscriptions = "a", max_in_flight = "{"9" * 5000}"')
    (table,) = config.workloads["shop"].triggers["messaging"]
    assert table.values["max_in_flight"] == "9" * 5000


def test_what_is_imported_as_well_is_what_messages_come_through(tmp_path: Path) -> None:
    config = loaded(tmp_path, 'subscriptions = "a", consumer_group = "broadcast"', '["consumer", "handler"]')
    (table,) = config.workloads["shop"].triggers["messaging"]
    assert table.values == {"subjects": ["a"], "broadcast": True}
    (binding,) = [b for b in config.workloads["shop"].bindings if b.package == "wasmcloud:messaging"]
    assert binding.interfaces == frozenset({"consumer"})
    assert not binding.settings.values


@pytest.mark.anyio
async def test_a_host_takes_it(tmp_path: Path) -> None:
    config = await anyio.to_thread.run_sync(loaded, tmp_path, 'subscriptions = "a.*"')
    async with Host(config) as host:
        (binding,) = host.trigger_bindings("messaging")
        assert binding.settings.subjects == ("a.*",)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('consumer_group = "g"', 'the key "subscriptions" is missing'),
        ('consumer_group = "g"', 'try: subscriptions = "orders.>"'),
        ('subscriptions = ""', 'subscriptions = "" is not valid'),
        ('subscriptions = "a", consumer_group = "g h"', 'consumer_group = "g h" is not valid'),
        ('subscription = "a"', "did you mean 'subscriptions'?"),
        ('subscriptions = "a", consumer_groups = "g"', "did you mean 'consumer_group'?"),
        ('subscriptions = "a..b"', "a token of the pattern is empty"),
        ('subscriptions = "a", admission_wait = "3s"', "admission_wait"),
    ],
)
async def test_what_an_entry_must_not_say(tmp_path: Path, config: str, said: str) -> None:
    read = await anyio.to_thread.run_sync(loaded, tmp_path, config)
    with pytest.raises(UsageError) as error:
        async with Host(read):
            pass
    assert said in str(error.value)
    assert "host.toml:" in str(error.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("durable = true", "write a table of trigger.messaging"),
        ('consumer_groups = "g"', "did you mean 'consumer_group'?"),
    ],
)
async def test_a_key_that_an_entry_for_handler_and_consumer_has_not(
    tmp_path: Path, key: str, said: str
) -> None:
    entry = ENTRY.replace("import.audit", "# ").replace("interfaces =", 'name = "audit"\ninterfaces =')
    path, config = tmp_path / "host.toml", f'subscriptions = "a", {key}'
    path.write_text(
        entry.format(component=GUESTS / "handler.wasm", interfaces='["consumer", "handler"]', config=config)
    )
    read = await anyio.to_thread.run_sync(load, path)
    with pytest.raises(UsageError) as error:
        async with Host(read):
            pass
    assert said in str(error.value)
    assert "host.toml:" in str(error.value)


# ---------------------------------------------------------------- HTTP

HTTP = """
[workload.shop]
component = "{component}"
{trigger}
[[workload.shop.host_interfaces]]
namespace = "wasi"
package = "http"
interfaces = {interfaces}
config = {{ {config} }}
"""


@pytest.mark.parametrize(
    ("interfaces", "config", "trigger", "expected"),
    [
        (
            '["incoming-handler"]',
            'host = "shop.localhost.direct:8000"',
            "",
            [{"host": "shop.localhost.direct"}],
        ),
        ('["incoming-handler"]', "", "", [{}]),
        (
            '["incoming-handler"]',
            'host = "a.example", host-aliases = "b.internal, c.internal"',
            "",
            [{"host": "a.example"}, {"host": "b.internal"}, {"host": "c.internal"}],
        ),
        ('["handler", "outgoing-handler"]', "", "", [{}]),
        ('["incoming-handler"]', "", "trigger.http = { path = '/api' }", [{"path": "/api"}]),
        (
            '["incoming-handler"]',
            'host = "a.example"',
            "trigger.http = { host = 'b.example' }",
            [{"host": "b.example"}, {"host": "a.example"}],
        ),
    ],
)
def test_a_handler_of_http_is_a_trigger(
    tmp_path: Path, interfaces: str, config: str, trigger: str, expected: list[dict[str, str]]
) -> None:
    path = tmp_path / "host.toml"
    component = GUESTS / "hello.wasm"
    path.write_text(HTTP.format(component=component, interfaces=interfaces, config=config, trigger=trigger))
    workload = load(path).workloads["shop"]
    assert [table.values for table in workload.triggers["http"]] == expected
    assert workload.bindings == ()


def test_what_else_an_entry_for_http_says_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    config = 'host = "a.example", connect_timeout = "5s"'
    interfaces = '["incoming-handler", "outgoing-handler"]'
    path.write_text(
        HTTP.format(component=GUESTS / "hello.wasm", interfaces=interfaces, config=config, trigger="")
    )
    (binding,) = load(path).workloads["shop"].bindings
    assert (binding.interfaces, binding.settings.values) == (None, {"connect_timeout": "5s"})
