"""Finding plugins, importing what is asked for, and saying what is wrong with the rest."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmplex
from wasmplex.component.shape import Export, InstanceType, Shape
from wasmplex.errors import PluginError
from wasmplex.plugin import (
    Backend,
    BackendProvider,
    BoundInterfaces,
    ExportAdapter,
    InterfaceProvider,
    OpenContext,
    Settings,
    hookimpl,
)
from wasmplex.plugins import Group, PluginState, Registry
from wasmplex.plugins.discovery import scan

from .conftest import Site

Imported = Callable[[str], bool]


class Provider(BackendProvider[Settings]):
    name = "redis"
    capability = "keyvalue"

    async def open(self, settings: Settings, context: OpenContext) -> Backend:
        raise NotImplementedError


def state(registry: Registry, name: str) -> PluginState:
    return next(row.state for row in registry.status() if row.identity.name == name)


def cause(registry: Registry, name: str) -> str:
    return next(row.cause for row in registry.status() if row.identity.name == name)


def refused(registry: Registry, selector: str, capability: str = "keyvalue") -> str:
    with pytest.raises(PluginError) as caught:
        registry.backend(selector, capability)
    assert len(caught.value.render().splitlines()) <= 5
    return caught.value.render()


# ---------------------------------------------------------------- laziness


def test_only_the_backend_that_is_asked_for_is_imported(site: Site, imported: Imported) -> None:
    modules = [site.backend(f"store{number:02}") for number in range(50)]
    site.module(modules[7], "raise RuntimeError('broken')")
    registry = site.registry()
    registry.backend("store03", "keyvalue")
    assert [module for module in modules if imported(module)] == [modules[3]]


def test_a_status_list_imports_nothing(site: Site, imported: Imported) -> None:
    module = site.backend("redis")
    registry = site.registry()
    assert state(registry, "redis") is PluginState.AVAILABLE
    assert registry.names(Group.BACKENDS) == ("redis",)
    assert not imported(module)


def test_the_scan_of_this_environment_imports_no_plugin() -> None:
    code = (
        "import sys; from wasmplex.plugins import Registry; r = Registry(disable=''); r.status();"
        "bad = [m for m in sys.modules if m.startswith(('host_plugin', 'wasmtime', 'wasmplex.engine'))];"
        "print(len(r.status()), bad)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    count, bad = done.stdout.split(maxsplit=1)
    assert int(count) >= 3
    assert bad.strip() == "[]"


def test_a_provider_is_imported_once_and_remembers_its_plugin(site: Site) -> None:
    site.backend("redis", version="4.5")
    registry = site.registry()
    provider = registry.backend("redis", "keyvalue")
    assert registry.backend("redis@Host_Plugin_Redis", "keyvalue") is provider
    assert str(registry.origin(provider)) == "plugin redis (host-plugin-redis==4.5)"
    assert state(registry, "redis") is PluginState.READY


def test_rows_are_sorted_whatever_the_order_on_disk(site: Site) -> None:
    for name in ("zeta", "alpha", "mid"):
        site.backend(name)
    assert [row.identity.name for row in site.registry().status()] == ["alpha", "mid", "zeta"]


# ---------------------------------------------------------------- broken plugins


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no\\nluck')", "its import failed: RuntimeError: no luck"),
        ("import sys; sys.exit(3)", "SystemExit: it tried to end the process with code 3"),
        ("import a_library_that_is_not_here", "No module named 'a_library_that_is_not_here'"),
        ("def broken(:", "its import failed: SyntaxError"),
        ("x = 1", "it registers nothing"),
        ("raise BaseException('odd')", "BaseException: odd"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(site: Site, source: str, words: str) -> None:
    site.backend("redis", source=source)
    registry = site.registry()
    text = refused(registry, "redis")
    assert words in text
    assert "plugin redis (host-plugin-redis==1.2)" in text
    assert state(registry, "redis") is PluginState.FAILED
    assert words in cause(registry, "redis")


def test_the_traceback_of_a_failure_is_kept_for_its_author(site: Site) -> None:
    site.backend("redis", source="raise RuntimeError('no luck')")
    registry = site.registry()
    refused(registry, "redis")
    assert "Traceback" in registry.status()[0].detail


def test_a_stale_entry_point_is_told_from_a_failed_import(site: Site) -> None:
    site.distribution("host-plugin-gone", {"wasmplex.plugins": {"gone": "host_plugin_gone.inner"}})
    text = refused(site.registry(), "gone")
    assert "names the module host_plugin_gone.inner, which is not there" in text
    assert "pip uninstall host-plugin-gone" in text


def test_a_missing_attribute_is_a_failure(site: Site) -> None:
    site.backend("redis")
    site.distribution("other", {"wasmplex.plugins": {"other": "host_plugin_redis:nothing.here"}})
    assert "has no attribute 'nothing'" in refused(site.registry(), "other")


def test_an_interrupt_passes_and_is_not_remembered(site: Site) -> None:
    module = site.backend("redis", source="raise KeyboardInterrupt")
    registry = site.registry()
    with pytest.raises(KeyboardInterrupt):
        registry.backend("redis", "keyvalue")
    assert state(registry, "redis") is PluginState.AVAILABLE
    assert module not in sys.modules


def test_a_failure_is_remembered(site: Site, tmp_path: Path) -> None:
    marker = tmp_path / "imports"
    site.backend("redis", source=f"with open({str(marker)!r}, 'a') as f: f.write('x')\nraise ValueError")
    registry = site.registry()
    refused(registry, "redis")
    refused(registry, "redis")
    assert marker.read_text() == "x"


def test_a_failure_that_raises_nothing_is_logged_once_and_tracebacks_for_those_who_debug(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.backend("other", source="import no_such_library_either")
    site.module("broken", "import no_such_library")
    site.distribution("wasi-broken", {"wasmplex.interfaces": {"wasi:io": "broken"}})
    install_interface(site, "wasi-good", "0.2.12")
    caplog.set_level(logging.DEBUG, "wasmplex.plugins")
    registry = site.registry()
    for _ in range(2):
        assert registry.interface("wasi:io", "0.2.0") is not None
        registry.status()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    cause = "its import failed: ModuleNotFoundError: No module named 'no_such_library'"
    assert warnings == [f"plugin wasi:io (wasi-broken==1.2): {cause}"]
    (debug,) = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert debug.startswith("Traceback")


def test_metadata_is_read_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = []

    def counted(*args: Any, **options: Any) -> list[Any]:
        scans.append(args)
        return scan(*args, **options)

    monkeypatch.setattr("wasmplex.plugins.registry.scan", counted)
    for name in ("redis", "nats"):
        site.backend(name)
    registry = site.registry()
    for name in ("redis", "nats"):
        registry.backend(name, "keyvalue")
        registry.status(load=True)
        registry.names(Group.BACKENDS)
        refused(registry, f"{name}-2")
    assert len(scans) == 1


def test_a_broken_plugin_breaks_nobody_else(site: Site) -> None:
    site.backend("bad", source="raise RuntimeError")
    site.backend("good")
    registry = site.registry()
    rows = {row.identity.name: row.state for row in registry.status(load=True)}
    assert rows == {"bad": PluginState.FAILED, "good": PluginState.READY}
    assert registry.backend("good", "keyvalue").name == "good"


@pytest.mark.parametrize("text", ["[wasmplex.plugins]\nno equals sign", "[wasmplex.plugins\nx = y"])
def test_malformed_entry_points_hide_no_other_plugin(site: Site, text: str) -> None:
    site.distribution("host-plugin-bad", text)
    site.backend("good")
    registry = site.registry()
    assert registry.backend("good", "keyvalue").name == "good"
    assert registry.status(load=True)


def test_malformed_entry_points_are_shown(site: Site) -> None:
    site.distribution("host-plugin-bad", "[wasmplex.plugins]\nno equals sign")
    assert "entry_points.txt is malformed" in cause(site.registry(), "host-plugin-bad")


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"[x]\ncaf\xe9 = y:z\n", False),
        (b"[x]\nno equals sign", False),
        (b"[wasmplex.plugins]\ncaf\xe9 = y\n", True),
        (None, False),
    ],
)
def test_what_is_wrong_with_others_is_shown_if_they_are_plugins(
    site: Site, data: bytes | None, shown: bool
) -> None:
    site.distribution("somebody-else", "")
    site.backend("good")
    file = site.root / "somebody_else-1.2.dist-info" / "entry_points.txt"
    file.unlink()
    if data is None:
        file.symlink_to(file.name)  # cannot even be read
    else:
        file.write_bytes(data)
    rows = {row.identity.name: row.cause for row in site.registry().status(load=True)}
    assert ("somebody-else" in rows) is shown
    assert not rows["good"]
    assert "malformed" in rows.get("somebody-else", "malformed")


def test_unreadable_metadata_hides_no_other_plugin(site: Site) -> None:
    site.backend("good")
    site.backend("bad")
    (site.root / "host_plugin_bad-1.2.dist-info" / "METADATA").unlink()
    registry = site.registry()
    assert {row.identity.name for row in registry.status()} == {"bad", "good"}
    assert registry.backend("bad", "keyvalue").name == "bad"


def test_an_older_copy_further_down_the_path_does_not_count(site: Site, tmp_path: Path) -> None:
    site.backend("redis", version="2.0")
    old = Site(tmp_path / "old")
    old.root.mkdir()
    old.backend("redis", version="1.0")
    registry = Registry(path=[str(site.root), str(old.root)], disable="")
    assert [row.identity.version for row in registry.status()] == ["2.0"]


# ---------------------------------------------------------------- what hooks return

PIECES = """
    import click
    from wasmplex.plugin import (
        BackendProvider, ExportAdapter, InterfaceProvider, Settings, Trigger, hookimpl
    )
    class Good(BackendProvider):
        name, capability = "redis", "keyvalue"
        async def open(self, settings, context): ...
    class Reserved(Settings):
        version: int = 1
    class Reserving(Good):
        settings = Reserved
    class Shouting(Good):
        name = "REDIS"
    class Blocking(Good):
        def open(self, settings, context): ...
    class Listing(Good):
        features = ["ttl"]
    class Unset(BackendProvider):
        capability = "keyvalue"
        async def open(self, settings, context): ...
    class Awaited:
        def __await__(self): yield
    class Binding(InterfaceProvider):
        package, version, interfaces = "acme:geo", "1.0.0", frozenset({"lookup"})
        async def bind(self, workload): ...
    class Yielding(Binding):
        async def bind(self, workload): yield
    class Adapting(ExportAdapter):
        trigger, interface = "http", "acme:geo/lookup@1.0.0"
        async def adapt(self, export): ...
    class Serving(Trigger):
        name = "tick"
        async def start(self, bindings, settings, sockets): ...
    @click.command
    @click.pass_context
    async def asynchronous(ctx): ...
    def endless():
        while True: yield Good()
    def breaking():
        yield Good()
        raise LookupError("half way")
    @hookimpl
"""


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("def wasmplex_backends(): return Good()", "it returned one BackendProvider, not a list"),
        ("def wasmplex_backends(): return [Good]", "return an object: Good()"),
        ("def wasmplex_backends(): return ['redis']", "a value of type str in its list"),
        ("def wasmplex_backends(): return 'redis'", "it returned a value of type str"),
        ("def wasmplex_backends(): return 7", "it returned a value of type int"),
        ("def wasmplex_backends(): return {'redis': Good()}", "it returned a value of type dict"),
        ("def wasmplex_backends(): return endless()", "more than 1000 items"),
        ("def wasmplex_backends(): return breaking()", "raised LookupError: half way"),
        ("def wasmplex_backends(): raise SystemExit(1)", "hook wasmplex_backends raised SystemExit"),
        ("async def wasmplex_backends(): return [Good()]", "write it with plain def"),
        (
            "async def wasmplex_backends(): yield Good()",
            "a value of type async_generator, which nobody awaits",
        ),
        ("def wasmplex_backends(): return Awaited()", "a value of type Awaited, which nobody awaits"),
        ("def wasmplex_interfaces(): return [Binding()]", "Binding.bind is async; write it with plain def"),
        ("def wasmplex_interfaces(): return [Yielding()]", "it returns an async context manager"),
        ("def wasmplex_export_adapters(): return [Adapting()]", "Adapting.adapt is async"),
        (
            "def wasmplex_triggers(): return [Serving()]",
            "Serving.start is async; write it",
        ),
        ("def wasmplex_commands(): return [asynchronous]", "command 'asynchronous' is async"),
        ("def wasmplex_backends(): return [Good(), Good()]", "the backend redis keyvalue twice"),
        ("def wasmplex_backends(): return [Shouting()]", "Shouting.name is 'REDIS'"),
        ("def wasmplex_backends(): return [Unset()]", "Unset.name is None"),
        ("def wasmplex_backends(): return [Blocking()]", "Blocking.open has to be an async function"),
        ("def wasmplex_backends(): return [Listing()]", "Listing.features is ['ttl']"),
        ("def wasmplex_backends(): return [Reserving()]", "Reserved has the key 'version'"),
        ("def wasmplex_backends(settings): return []", "it cannot be registered: PluginValidationError"),
        ("def wasmplex_backend(): return []", "unknown hook 'wasmplex_backend'"),
        ("def wasmplex_interfaces(): return [Good()]", "each item is a InterfaceProvider"),
        ("def wasmplex_commands(): return [Good()]", "each item is a Command"),
    ],
)
def test_a_hook_that_returns_rubbish_is_named(site: Site, hook: str, words: str) -> None:
    site.backend("redis", source=PIECES + "    " + hook)
    text = refused(site.registry(), "redis")
    assert words in text
    assert "plugin redis (host-plugin-redis==1.2)" in text


def test_a_misspelt_hook_gets_the_right_one(site: Site) -> None:
    site.backend("redis", source=PIECES + "    def wasmplex_backend(): return []")
    assert "did you mean 'wasmplex_backends'?" in refused(site.registry(), "redis")


def test_none_is_an_empty_list_and_generators_are_fine(site: Site) -> None:
    source = PIECES + (
        "    def wasmplex_backends(): yield Good()\n"
        "    @hookimpl\n"
        "    def wasmplex_interfaces(): return None\n"
    )
    site.backend("redis", source=source)
    assert site.registry().backend("redis", "keyvalue").name == "redis"


def test_nothing_of_a_half_registered_plugin_remains(site: Site) -> None:
    site.backend(
        "redis",
        source=PIECES
        + "    def wasmplex_backends(): return [Good()]\n"
        + "    @hookimpl\n    def wasmplex_triggers(): return [1]",
    )
    registry = site.registry()
    refused(registry, "redis")
    assert registry.status()[0].provides == ()


# ---------------------------------------------------------------- names


def test_an_unknown_backend_gets_the_nearest_name_and_the_package(site: Site) -> None:
    site.backend("redis")
    site.backend("sqlite")
    text = refused(site.registry(), "rediss")
    assert "no backend 'rediss' is installed" in text
    assert "installed: redis, sqlite" in text
    assert text.endswith("did you mean 'redis'?")


def test_with_no_plugin_at_all_the_package_is_named(site: Site) -> None:
    assert "pip install host-plugin-nats" in refused(site.registry(), "nats")


def test_no_name_is_offered_for_installation_that_is_not_of_the_project(site: Site) -> None:
    misspelt = refused(site.registry(), "rediss")
    assert "did you mean 'redis'? " in misspelt
    assert misspelt.endswith("pip install host-plugin-redis")
    assert "pip install" not in refused(site.registry(), "dynamo")


def test_a_backend_for_another_capability_is_refused(site: Site) -> None:
    site.backend("redis", capability="keyvalue")
    assert "is for keyvalue, not for blobstore" in refused(site.registry(), "redis", "blobstore")


def test_a_plugin_without_the_backend_its_entry_point_names(site: Site) -> None:
    site.module("lying", PIECES + "    def wasmplex_backends(): return [Good()]")
    site.distribution("host-plugin-lying", {"wasmplex.plugins": {"lying": "lying"}})
    text = refused(site.registry(), "lying")
    assert "does not register a backend of that name" in text
    assert "it registers: redis" in text


def test_two_distributions_of_one_name_collide_until_one_is_chosen(site: Site, imported: Imported) -> None:
    first = site.backend("redis")
    second = site.backend("redis", distribution="acme-redis")
    registry = site.registry()
    text = refused(registry, "redis")
    assert "acme-redis==1.2" in text
    assert "host-plugin-redis==1.2" in text
    assert 'backend = "redis@acme-redis"' in text
    assert not imported(first)
    assert not imported(second)
    chosen = registry.backend("redis@acme-redis", "keyvalue")
    assert registry.origin(chosen).distribution == "acme-redis"
    assert not imported(first)


def test_a_selector_with_the_wrong_distribution_names_the_right_one(site: Site) -> None:
    site.backend("redis")
    assert 'write "redis@host-plugin-redis"' in refused(site.registry(), "redis@acme")


# ---------------------------------------------------------------- handshake


def test_an_incompatible_plugin_is_listed_with_the_reason_and_not_imported(
    site: Site, imported: Imported
) -> None:
    module = site.backend("redis", requires=("wasmplex<99,>=98", "redis>=5"))
    registry = site.registry()
    wanted = f"plugin redis 1.2 needs wasmplex >=98,<99; this is {wasmplex.__version__}"
    assert wanted in refused(registry, "redis")
    assert state(registry, "redis") is PluginState.INCOMPATIBLE
    assert cause(registry, "redis") == wanted
    assert not imported(module)


@pytest.mark.parametrize(
    "requires",
    [
        (),
        ("wasmplex",),
        (f"WASMPLEX=={wasmplex.__version__}",),
        ("wasmplex[testing]>=99; extra == 'dev'",),
        ("wasmplex-something-else>=99",),
        ("!!! not a requirement",),
    ],
)
def test_compatible_plugins_load(site: Site, requires: tuple[str, ...]) -> None:
    site.backend("redis", requires=requires)
    assert site.registry().backend("redis", "keyvalue").name == "redis"


def test_a_malformed_requirement_on_us_is_incompatible(site: Site) -> None:
    site.backend("redis", requires=("wasmplex >>> 1",))
    assert "its metadata is malformed" in refused(site.registry(), "redis")


# ---------------------------------------------------------------- switching off


@pytest.mark.parametrize("disable", ["redis", "nothing, Host_Plugin_Redis", "redis@host-plugin-redis"])
def test_a_disabled_plugin_is_never_imported(site: Site, imported: Imported, disable: str) -> None:
    module = site.backend("redis")
    registry = site.registry(disable=disable)
    assert "backend 'redis' is disabled" in refused(registry, "redis")
    assert state(registry, "redis") is PluginState.DISABLED
    registry.status(load=True)
    assert not imported(module)
    assert registry.names(Group.BACKENDS) == ()


def test_disabling_one_of_two_settles_a_collision(site: Site) -> None:
    site.backend("redis")
    site.backend("redis", distribution="acme-redis")
    registry = site.registry(disable="acme-redis")
    assert registry.origin(registry.backend("redis", "keyvalue")).distribution == "host-plugin-redis"


@pytest.mark.parametrize(("no_plugins", "disable"), [(True, ""), (False, "1"), (False, "all")])
def test_without_plugins_the_hosts_own_pieces_stay(site: Site, no_plugins: bool, disable: str) -> None:
    site.backend("redis")
    site.module("core_pieces", PIECES + "    def wasmplex_backends(): return [Good()]")
    site.distribution("wasmplex", {"wasmplex.plugins": {"own": "core_pieces"}})
    registry = site.registry(no_plugins=no_plugins, disable=disable)
    assert registry.names(Group.BACKENDS) == ("own",)


def test_the_environment_is_read_when_nothing_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.backend("redis")
    monkeypatch.setenv("WASMPLEX_DISABLE_PLUGINS", "redis")
    assert state(Registry(path=[str(site.root)]), "redis") is PluginState.DISABLED


def test_a_misspelt_name_is_warned_about(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.backend("redis")
    with caplog.at_level(logging.WARNING, "wasmplex.plugins"):
        site.registry(disable="rediss").status()
    assert "no plugin 'rediss' is installed; did you mean 'redis'?" in caplog.text


# ---------------------------------------------------------------- objects and files


def test_an_object_goes_before_installed_plugins(site: Site) -> None:
    site.backend("redis")
    registry = site.registry(no_plugins=True)
    provider = Provider()
    registry.add(provider)
    assert registry.backend("redis", "keyvalue") is provider
    assert registry.origin(provider).distribution == "in process"


def test_an_object_with_hooks_can_be_added(site: Site) -> None:
    class Plugin:
        @hookimpl
        def wasmplex_backends(self) -> list[BackendProvider[Any]]:
            return [Provider()]

    registry = site.registry()
    registry.add(Plugin())
    assert registry.backend("redis", "keyvalue").name == "redis"


def test_an_object_that_registers_nothing_is_refused(site: Site) -> None:
    with pytest.raises(PluginError, match="it registers nothing"):
        site.registry().add(object())


def test_a_class_is_not_an_object(site: Site) -> None:
    with pytest.raises(PluginError, match="it is the class Provider, not an object"):
        site.registry().add(Provider)


def test_a_disabled_one_file_plugin_is_not_imported_and_not_forgotten(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("1/0")
    registry = site.registry(no_plugins=True)
    registry.add_file(path)
    assert state(registry, "mine") is PluginState.DISABLED
    assert "mine.py is disabled" in refused(registry, "redis")


def test_two_objects_of_one_name_are_refused(site: Site) -> None:
    registry = site.registry()
    registry.add(Provider())
    with pytest.raises(PluginError, match="backend 'redis' was added twice"):
        registry.add(Provider())


def test_a_one_file_plugin_is_loaded_by_its_path(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "my-backend.py"
    path.write_text(
        "import dataclasses\n" + textwrap.dedent(PIECES) + "def wasmplex_backends(): return [Good()]"
    )
    registry = site.registry()
    registry.add_file(path)
    provider = registry.backend("redis@my-backend.py", "keyvalue")
    assert registry.origin(provider).distribution == "my-backend.py"
    assert str(tmp_path) not in sys.path


def test_a_one_file_plugin_knows_where_it_is(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import inspect, sys\nfrom pathlib import Path\n"
        'BESIDE = (Path(__file__).parent / "mine.txt").read_text()\n'
        "assert __spec__.has_location and __spec__.origin == __file__\n"
        "assert 'BESIDE' in inspect.getsource(sys.modules[__name__])\n"
        + textwrap.dedent(PIECES)
        + "def wasmplex_backends(): return [Good()]"
    )
    (tmp_path / "mine.txt").write_text("beside it")
    registry = site.registry()
    registry.add_file(path)
    module = sys.modules[type(registry.backend("redis", "keyvalue")).__module__]
    assert (module.__file__, module.BESIDE) == (str(path), "beside it")


def test_what_looks_up_its_own_module_finds_a_one_file_plugin(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\n"
        "import dataclasses, importlib, pickle, sys, typing\nimport pydantic\n"
        "@dataclasses.dataclass\nclass Row:\n    kind: typing.ClassVar[str] = ''\n    size: int = 1\n"
        "class Settings(pydantic.BaseModel):\n    rows: list[Row]\n    more: Later | None = None\n"
        "class Later(pydantic.BaseModel):\n    size: int\n"
        "assert pickle.loads(pickle.dumps(Row(2))) == Row(2)\n"
        "assert typing.get_type_hints(Row)['size'] is int\n"
        "assert Settings(rows=[Row(3)], more={'size': 4}).more == Later(size=4)\n"
        "assert importlib.import_module(__name__) is sys.modules[__name__]\n"
        + textwrap.dedent(PIECES)
        + "def wasmplex_backends(): return [Good()]"
    )
    registry = site.registry()
    registry.add_file(path)
    assert registry.backend("redis", "keyvalue") is not None


def test_a_one_file_plugin_that_was_just_edited_is_not_taken_from_bytecode(
    site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    for mark in "ab":  # of one size, in one second
        source = f"MARK = {mark!r}\n" + textwrap.dedent(PIECES) + "def wasmplex_backends(): return [Good()]"
        path.write_text(source)
        os.utime(path, (10**9, 10**9))
        registry = site.registry()
        registry.add_file(path)
        assert mark == sys.modules[type(registry.backend("redis", "keyvalue")).__module__].MARK


def test_a_one_file_plugin_collides_like_any_other(site: Site, tmp_path: Path) -> None:
    site.backend("redis")
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(PIECES) + "def wasmplex_backends(): return [Good()]")
    registry = site.registry()
    registry.add_file(path)
    assert "mine.py" in refused(registry, "redis")


@pytest.mark.parametrize(
    ("source", "words"),
    [(None, "there is no such file"), ("1/0", "ZeroDivisionError"), ("", "registers nothing")],
)
def test_a_one_file_plugin_that_fails_is_named(
    site: Site, tmp_path: Path, source: str | None, words: str
) -> None:
    path = tmp_path / "mine.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(PluginError, match=words) as caught:
        site.registry().add_file(path)
    assert "mine.py" in caught.value.render()


# ---------------------------------------------------------------- interfaces, exports, commands

INTERFACE = """
    from wasmplex.plugin import ExportAdapter, InterfaceProvider, hookimpl
    class Io(InterfaceProvider):
        package, version, interfaces = "wasi:io", {version!r}, frozenset({{"streams"}})
        def bind(self, workload): ...
    class Http(ExportAdapter):
        trigger, interface = "http", "wasi:io/handler@{version}"
        def adapt(self, export): ...
    @hookimpl
    def wasmplex_interfaces(): return [Io()]
    @hookimpl
    def wasmplex_export_adapters(): return [Http()]
"""


def install_interface(site: Site, distribution: str, version: str, entry: str = "wasi:io") -> None:
    module = distribution.replace("-", "_")
    site.module(module, INTERFACE.format(version=version))
    site.distribution(distribution, {"wasmplex.interfaces": {entry: module}})


@pytest.mark.parametrize("entry", ["wasi:io", "wasi.io"])
def test_an_interface_is_found_by_package_and_track(site: Site, entry: str) -> None:
    install_interface(site, "host-plugin-wasi", "0.2.12", entry)
    registry = site.registry()
    found = registry.interface("wasi:io", "0.2.1")
    assert found is not None
    assert found.version == "0.2.12"
    assert registry.interface("wasi:io", "0.3.0") is None
    assert registry.interface("wasi:nothing", "0.2.0") is None
    assert registry.names(Group.INTERFACES) == ("wasi:io",)


def test_a_plugin_without_a_backend_is_named_after_its_distribution(site: Site) -> None:
    install_interface(site, "host-plugin-wasi", "0.2.12")
    install_interface(site, "somebody-else", "0.3.0")
    assert [row.identity.name for row in site.registry().status()] == ["wasi", "wasi:io"]
    assert site.registry(disable="wasi").interfaces("wasi:io")[0].version == "0.3.0"


def test_two_distributions_may_serve_two_tracks_of_a_package(site: Site) -> None:
    install_interface(site, "wasi-two", "0.2.12")
    install_interface(site, "wasi-three", "0.3.0")
    registry = site.registry()
    found = registry.interface("wasi:io", "0.3.0")
    assert found is not None
    assert registry.origin(found).distribution == "wasi-three"


def test_two_distributions_of_one_track_collide(site: Site) -> None:
    install_interface(site, "wasi-one", "0.2.12")
    install_interface(site, "wasi-two", "0.2.3")
    with pytest.raises(PluginError, match=r"served by wasi-one==1\.2 and by wasi-two==1\.2"):
        site.registry().interface("wasi:io", "0.2.1")


def test_a_broken_interface_plugin_matters_only_if_nobody_else_serves(site: Site) -> None:
    install_interface(site, "wasi-one", "0.2.12")
    site.module("broken", "raise RuntimeError('broken')")
    site.distribution("wasi-broken", {"wasmplex.interfaces": {"wasi:io": "broken", "wasi:clocks": "broken"}})
    registry = site.registry()
    assert registry.interface("wasi:io", "0.2.1") is not None
    with pytest.raises(PluginError, match="RuntimeError: broken"):
        registry.interface("wasi:clocks", "0.2.1")


def test_a_disabled_interface_plugin_says_so(site: Site) -> None:
    install_interface(site, "host-plugin-wasi", "0.2.12")
    with pytest.raises(PluginError, match="all plugins are disabled"):
        site.registry(no_plugins=True).interface("wasi:io", "0.2.1")


def test_an_export_adapter_is_found_for_the_export(site: Site) -> None:
    install_interface(site, "host-plugin-wasi", "0.2.12")
    registry = site.registry()
    shape = Shape((), (Export("run", InstanceType()), Export("wasi:io/handler@0.2.4", InstanceType())))
    found = registry.export_adapter("http", shape)
    assert found is not None
    assert found[1].name == "wasi:io/handler@0.2.4"
    assert registry.export_adapter("cron", shape) is None
    assert registry.export_adapter("http", Shape((), ())) is None


TRIGGER = """
    from wasmplex.plugin import ExportAdapter, Trigger, hookimpl
    class Tail(Trigger):
        name = "tail"
        def start(self, bindings, settings, sockets): ...
    class Lines(ExportAdapter):
        trigger, interface = "tail", "acme:lines/handler@1.0.0"
        def adapt(self, export): ...
    @hookimpl
    def wasmplex_triggers(): return [Tail()]
    @hookimpl
    def wasmplex_export_adapters(): return [Lines()]
"""


def test_a_triggers_own_plugin_need_not_name_the_packages_of_its_adapters(site: Site) -> None:
    site.module("host_plugin_tail", TRIGGER)
    site.distribution("host-plugin-tail", {"wasmplex.triggers": {"tail": "host_plugin_tail"}})
    registry = site.registry()
    handler = Export("acme:lines/handler@1.0.0", InstanceType())
    found = registry.export_adapter("tail", Shape((), (handler,)))
    assert found is not None
    assert found[1] is handler
    assert [adapter.interface for adapter in registry.export_adapters("tail")] == [handler.name]
    assert registry.export_adapters("tail", "acme:other") == ()


class Geo(InterfaceProvider):
    package = "acme:geo"
    version = "1.0.0"
    interfaces = frozenset({"lookup"})

    def bind(self, workload: Any) -> Any:
        raise NotImplementedError


class Adapter(ExportAdapter):
    trigger = "http"
    interface = "acme:geo/handler@1.0.0"

    def adapt(self, export: Export) -> Any:
        raise NotImplementedError


def test_in_process_interfaces_and_adapters(site: Site) -> None:
    registry = site.registry()
    geo, adapter = Geo(), Adapter()
    registry.add(geo)
    registry.add(adapter)
    assert registry.interface("acme:geo", "1.4.0") is None, "1.0.0 does not serve what 1.4.0 may add"
    assert registry.interface("acme:geo", "1.0.0") is geo
    found = registry.export_adapter("http", Shape((), (Export("acme:geo/handler@1.0.0", InstanceType()),)))
    assert found is not None
    assert found[0] is adapter


COMMAND = """
    import click
    from wasmplex.plugin import hookimpl
    @click.command("{name}")
    def command(): "From {origin}."
    @hookimpl
    def wasmplex_commands(): return [command]
"""


def install_command(site: Site, distribution: str, name: str) -> str:
    module = distribution.replace("-", "_") + "_command"
    site.module(module, COMMAND.format(name=name, origin=distribution))
    site.distribution(distribution, {"wasmplex.commands": {name: module}})
    return module


def test_commands_are_imported_one_by_one(site: Site, imported: Imported) -> None:
    first, second = install_command(site, "one", "run"), install_command(site, "two", "walk")
    commands = site.registry().commands()
    assert list(commands) == ["run", "walk"]
    assert commands["walk"]().help == "From two."
    assert not imported(first)
    assert imported(second)


def test_the_hosts_own_command_stays_the_hosts(site: Site) -> None:
    install_command(site, "intruder", "run")
    install_command(site, "wasmplex", "run")
    assert site.registry().commands()["run"]().help == "From wasmplex."


def test_two_foreign_commands_of_one_name_collide_when_called(site: Site) -> None:
    install_command(site, "one", "walk")
    install_command(site, "two", "walk")
    with pytest.raises(PluginError, match="command 'walk' is offered by"):
        site.registry().commands()["walk"]()


def test_bound_interfaces_contract_has_what_providers_need() -> None:
    assert BoundInterfaces.__abstractmethods__ == {"serve"}


@pytest.mark.parametrize(
    ("apis", "fits"), [((), True), (("1",), True), (("1", "2"), True), (("2", "3"), False)]
)
def test_the_plugin_api_is_compared_before_anything_is_imported(
    site: Site, imported: Callable[[str], bool], apis: tuple[str, ...], fits: bool
) -> None:
    site.module("host_plugin_new", "raise AssertionError('imported')")
    groups = {"wasmplex.plugins": {"new": "host_plugin_new"}}
    site.distribution("host-plugin-new", groups | {"wasmplex.api": dict.fromkeys(apis, "host_plugin_new")})
    (status,) = site.registry().status()
    assert status.state == ("available" if fits else "incompatible")
    assert fits or status.cause == "plugin new 1.2 needs plugin API 2 or 3; this host provides 1"
    assert not imported("host_plugin_new")


def test_one_of_fifty_plugins_is_imported_when_one_is_named(
    site: Site, imported: Callable[[str], bool]
) -> None:
    modules = [site.backend(f"store-{n}") for n in range(49)]
    site.backend("broken", source="raise RuntimeError('wings fell off')")
    registry = site.registry()
    assert len(registry.status()) == 50
    assert not any(map(imported, modules))
    assert registry.backend("store-7", "keyvalue").name == "store-7"
    assert [module for module in modules if imported(module)] == ["host_plugin_store_7"]
    assert {status.state for status in registry.status()} == {"ready", "available"}
