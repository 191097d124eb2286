"""Who serves what: labels, defaults, grants, features, settings, triggers; and who does not, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import model_validator
from wasmplex.component.shape import Export, Import, InstanceType, NamedType, Shape
from wasmplex.errors import RoutingError, WasmplexError
from wasmplex.plugin import BackendProvider, OpenContext, Settings
from wasmplex.routing import Plan, RouteKind, plan
from wasmplex.wit.types import Borrow, FuncType, ListType, Option, Param, Primitive, TupleType

from .worlds import (
    ATOMICS,
    BATCH,
    CLOUD,
    KV,
    STORE,
    TEXT,
    Kv,
    Opened,
    Redis,
    config,
    labelled,
    opening,
    plain,
    registry,
    resource,
    route,
    shape,
    taking,
    types_only,
    unlabelled,
)

CACHE = '[workload.shop.import.cache]\nbackend = "memory"\n'
TWO = CACHE + '[workload.shop.import.store]\nbackend = "redis"\nurl = "redis://localhost"\n'
DEFAULT = f'[workload.shop.default."{KV}"]\nbackend = "memory"\n'
HTTP = "wasi:http/incoming-handler@0.2.2"


def refusal(folder: Path, text: str, shape_: Shape, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(RoutingError) as caught:
        route(folder, text, shape_, environ)
    for diagnostic in caught.value.diagnostics:
        assert len(diagnostic.render().splitlines()) <= 4
    return caught.value.render()


def one(folder: Path, text: str, shape_: Shape, *words: str) -> str:
    """There is exactly one thing wrong, and all of the words are in what is said about it."""
    rendered = refusal(folder, text, shape_)
    assert rendered.count("error:") == 1, rendered
    for word in words:
        assert word in rendered, rendered
    return rendered


# ---------------------------------------------------------------- labels and defaults


def test_each_label_goes_to_its_own_backend(tmp_path: Path) -> None:
    found = route(tmp_path, TWO, shape(labelled("cache"), labelled("store", 1)))
    cache, store = found.routes
    assert cache.backend is not None
    assert store.backend is not None
    assert (cache.backend.provider.name, store.backend.provider.name) == ("memory", "redis")
    assert (cache.namespace, store.namespace) == ("shop/cache", "shop/store")
    assert isinstance(cache.provider, Kv)
    assert [backend.selector for backend in found.backends] == ["memory", "redis"]


def test_an_unlabelled_import_takes_the_default_of_its_package(tmp_path: Path) -> None:
    found = route(tmp_path, DEFAULT + CACHE, shape(unlabelled(), labelled("cache")))
    assert found.route(STORE).namespace == f"shop/{KV}"
    assert found.route("cache").namespace == "shop/cache"


def test_imports_of_one_default_share_one_backend(tmp_path: Path) -> None:
    bucket = resource(50)
    found = route(tmp_path, DEFAULT, shape(unlabelled(), Import(ATOMICS, taking(bucket))))
    assert len(found.backends) == 1
    assert found.routes[0].backend is found.routes[1].backend


def test_a_label_without_a_binding_is_never_given_the_default(tmp_path: Path) -> None:
    one(
        tmp_path,
        DEFAULT,
        shape(unlabelled(), labelled("cache")),
        'no binding serves the label "cache" (wasi:keyvalue/store@0.2.0-draft)',
        'add [workload.shop.import.cache] with backend = "memory"',
        "host.toml:1",
    )


def test_a_misspelt_label_is_one_mistake(tmp_path: Path) -> None:
    one(
        tmp_path,
        CACHE,
        shape(labelled("cashe")),
        'the component imports no label "cache"',
        "did you mean 'cashe'?",
    )


def test_an_unlabelled_import_without_a_default(tmp_path: Path) -> None:
    one(
        tmp_path,
        CACHE,
        shape(unlabelled(), labelled("cache")),
        f"no binding serves the unlabelled import {STORE}",
        '[workload.shop.default."wasi:keyvalue"] with backend = "memory"',
    )


def test_a_binding_that_no_import_uses(tmp_path: Path) -> None:
    one(
        tmp_path,
        TWO,
        shape(labelled("cache")),
        'the component imports no label "store"',
        "its labels: cache",
        "host.toml:5 (workload.shop.import.store)",
    )


def test_a_default_that_no_import_uses(tmp_path: Path) -> None:
    one(
        tmp_path,
        CACHE + DEFAULT,
        shape(labelled("cache")),
        "no unlabelled import of wasi:keyvalue",
        "under the labels cache",
    )


def test_a_default_is_not_used_by_types_alone(tmp_path: Path) -> None:
    one(tmp_path, DEFAULT, shape(Import(STORE, types_only())), "no unlabelled import of wasi:keyvalue")


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    text = """
        trigger.cron = {}
        env = { SECRET = { env = "NOT_SET" } }
        [workload.shop.import.cache]
        backend = "memry"
        [workload.shop.import.store]
        backend = "redis"
        ulr = "redis://localhost"
        [workload.shop.import.spare]
        backend = "memory"
    """
    rendered = refusal(tmp_path, text, shape(labelled("cache"), labelled("store", 1), labelled("extra", 2)))
    for words in (
        "no backend 'memry' is installed", 'unknown key "ulr"',  # and not that url is missing
        'imports no label "spare"', 'no binding serves the label "extra"',
        "no trigger 'cron' is installed", "NOT_SET is not set",
    ):  # fmt: skip
        assert words in rendered
    assert rendered.count("error:") == 6


# ---------------------------------------------------------------- versions, packages, duplicates


@pytest.mark.parametrize(("written", "imported"), [("0.2.1", "0.2.6"), ("0.2.6", "0.2.1"), ("0.2", "0.2.3")])
def test_versions_of_one_track_fit(tmp_path: Path, written: str, imported: str) -> None:
    text = f'[workload.shop.import.cache]\nbackend = "memory"\nversion = "{written}"'
    interface = f"{CLOUD}/store@{imported}"
    assert route(tmp_path, text, shape(labelled("cache", interface=interface))).routes[0].backend


@pytest.mark.parametrize("written", ["0.3.0", "1.0.0", "0.2.0-draft"])
def test_another_track_does_not_fit(tmp_path: Path, written: str) -> None:
    text = f'[workload.shop.import.cache]\nbackend = "memory"\nversion = "{written}"'
    one(
        tmp_path,
        text,
        shape(labelled("cache", interface=f"{CLOUD}/store@0.2.1")),
        f"the binding is for version {written}",
        'version = "0.2.1"',
    )


def test_the_interface_of_a_label_is_checked(tmp_path: Path) -> None:
    text = CACHE + f'interface = "{CLOUD}"'
    one(
        tmp_path,
        text,
        shape(labelled("cache")),
        f'label "cache" is {STORE}, not {CLOUD}',
        f'interface = "{KV}"',
        "host.toml:5",
    )


def test_a_version_nobody_serves(tmp_path: Path) -> None:
    one(
        tmp_path,
        CACHE,
        shape(labelled("cache", interface=f"{KV}/store@0.3.0")),
        "its version is not one that is served",
        "wasi:keyvalue is served as 0.2.0-draft",
    )


def test_a_higher_version_than_the_one_served(tmp_path: Path) -> None:
    one(tmp_path, "", shape(Import("wasi:clocks/wall-clock@0.2.99", plain())), "served as 0.2.12")


def test_a_version_cut_in_two_is_put_together(tmp_path: Path) -> None:
    low = Import("wasi:clocks/wall-clock@0.2", plain(), version_suffix=".3")
    assert route(tmp_path, "", shape(low)).routes[0].kind is RouteKind.HOST
    high = Import("wasi:clocks/wall-clock@0.2", plain(), version_suffix=".99")
    one(tmp_path, "", shape(high), "served as 0.2.12")


def test_a_package_nobody_offers(tmp_path: Path) -> None:
    one(
        tmp_path,
        "",
        shape(Import("acme:goe/lookup@1.0.0", plain())),
        "did you mean 'acme:geo'?",
    )
    one(tmp_path, "", shape(Import("wasi:sockets/tcp@0.2.0", plain())), "pip install host-plugin-wasi")
    rendered = one(
        tmp_path, "", shape(Import("wasi:nn/graph@0.2.0", plain())), "install a plugin that offers"
    )
    assert "host-plugin" not in rendered  # it would not help


def test_what_many_imports_lack_is_said_once(tmp_path: Path) -> None:
    names = ("wasi:sockets/tcp@0.2.0", "wasi:sockets/udp@0.2.0", "wasi:random/random@0.2.0")
    several = shape(*(Import(name, plain()) for name in names))
    one(
        tmp_path,
        "",
        several,
        "nobody serves 3 of the component's imports, those of wasi:random, wasi:sockets",
        "pip install host-plugin-wasi",
    )


def test_an_interface_its_package_is_served_without(tmp_path: Path) -> None:
    one(
        tmp_path,
        CACHE,
        shape(labelled("cache", interface=f"{KV}/stores@0.2.0-draft")),
        'wasi:keyvalue is served without "stores"',
        "did you mean 'store'?",
    )


def test_a_label_bound_twice(tmp_path: Path) -> None:
    entry = '[[workload.shop.host_interfaces]]\nnamespace = "wasi"\npackage = "keyvalue"\nname = "cache"\n'
    text = CACHE + entry + 'interfaces = ["store"]\nconfig = { backend = "memory" }'
    one(
        tmp_path,
        text,
        shape(labelled("cache")),
        'the label "cache" is bound twice',
        "first at",
        "host.toml:3",
    )


def test_two_defaults_of_one_package(tmp_path: Path) -> None:
    entry = '[[workload.shop.host_interfaces]]\nnamespace = "wasi"\npackage = "keyvalue"\nversion = "0.3.0"\n'
    text = DEFAULT + entry + 'config = { backend = "memory" }'
    one(tmp_path, text, shape(unlabelled()), "wasi:keyvalue has more than one unlabelled binding")


def test_one_label_may_be_bound_for_two_tracks_but_one_of_them_is_unused(tmp_path: Path) -> None:
    entry = (
        '[[workload.shop.host_interfaces]]\nnamespace = "wasmcloud"\npackage = "keyvalue"\nname = "cache"\n'
        'version = "{}"\nconfig = {{ backend = "memory" }}\n'
    )
    text = entry.format("0.2.0") + entry.format("0.3.0")
    one(
        tmp_path,
        text,
        shape(labelled("cache", interface=f"{CLOUD}/store@0.2.1")),
        'imports no label "cache"',
        "host_interfaces[1]",
    )


def test_host_interfaces_in_wasmclouds_words(tmp_path: Path) -> None:
    text = """
        [[workload.shop.host_interfaces]]
        namespace = "wasi"
        package = "keyvalue"
        interfaces = ["store"]
        version = "0.2.0-draft"
        name = "audit"
        config = { backend = "redis", url = "redis://localhost" }

        [[workload.shop.host_interfaces]]
        namespace = "wasi"
        package = "http"
        interfaces = ["incoming-handler"]
    """
    found = route(tmp_path, text, shape(labelled("audit"), exports=(HTTP,)))
    assert found.routes[0].granted == frozenset({"store"})
    assert found.routes[0].backend is not None
    assert found.routes[0].backend.settings.url == "redis://localhost"  # type: ignore[attr-defined]


# ---------------------------------------------------------------- grants


def test_what_a_binding_does_not_grant_is_not_linked(tmp_path: Path) -> None:
    text = DEFAULT + 'interfaces = ["store"]'
    one(
        tmp_path,
        text,
        shape(unlabelled(), Import(ATOMICS, taking(resource(50)))),
        "does not grant atomics",
        'interfaces = ["atomics", "store"]',
    )


def test_an_unknown_grant(tmp_path: Path) -> None:
    text = CACHE + 'interfaces = ["store", "atomic"]'
    one(tmp_path, text, shape(labelled("cache")), 'no interface "atomic"', "did you mean 'atomics'?")


# ---------------------------------------------------------------- without a binding


def test_what_needs_no_backend_needs_no_binding(tmp_path: Path) -> None:
    found = route(tmp_path, "", shape(Import("wasi:clocks/wall-clock@0.2.3", plain())))
    assert found.routes[0].kind is RouteKind.HOST
    assert found.backends == ()


def test_a_label_needs_a_binding_even_without_a_backend(tmp_path: Path) -> None:
    clock = labelled("clock", interface="wasi:clocks/wall-clock@0.2.3")
    one(tmp_path, "", shape(clock), 'no binding serves the label "clock"', "add [workload.shop.import.clock]")
    assert route(tmp_path, "[workload.shop.import.clock]", shape(clock)).routes[0].kind is RouteKind.BINDING


def test_a_backend_that_is_not_needed(tmp_path: Path) -> None:
    text = '[workload.shop.default."wasi:clocks"]\nbackend = "memory"'
    one(
        tmp_path,
        text,
        shape(Import("wasi:clocks/wall-clock@0.2.3", plain())),
        "wasi:clocks is served without a backend",
    )


def test_a_binding_without_the_backend_it_needs(tmp_path: Path) -> None:
    one(
        tmp_path,
        "[workload.shop.import.cache]",
        shape(labelled("cache")),
        "names no backend",
        'backend = "memory"',
    )


def test_a_backend_for_another_capability(tmp_path: Path) -> None:
    text = '[workload.shop.import.cache]\nbackend = "files"'
    one(tmp_path, text, shape(labelled("cache")), "is for blobstore, not for keyvalue", "host.toml:4")


def test_a_custom_interface_with_settings(tmp_path: Path) -> None:
    geo = Import("acme:geo/lookup@1.0.0", plain())
    text = '[workload.shop.default."acme:geo"]\ntoken = { env = "TOKEN" }\nzoom = 7'
    found = route(tmp_path, text, shape(geo), {"TOKEN": "t0ken"})
    assert found.routes[0].settings.zoom == 7  # type: ignore[attr-defined]
    assert "t0ken" not in repr(found)
    one(
        tmp_path,
        "",
        shape(geo),
        'import acme:geo/lookup@1.0.0 needs a binding: the key "token" is missing',
        '[workload.shop.default."acme:geo"]',
    )


def test_types_belong_to_no_label_and_need_nobody(tmp_path: Path) -> None:
    found = route(
        tmp_path, "", shape(Import("nobody:knows/types@0.1.0", types_only()), Import("t", types_only()))
    )
    assert [r.kind for r in found.routes] == [RouteKind.TYPES, RouteKind.TYPES]
    assert found.routes[0].provider is None


def test_types_at_the_root_are_no_imports_to_serve(tmp_path: Path) -> None:
    assert route(tmp_path, "", shape(Import("t", NamedType(Primitive("u8"))))).routes == ()


def test_functions_at_the_root_are_served_by_nobody(tmp_path: Path) -> None:
    one(tmp_path, "", shape(Import("log", FuncType((), None))), 'import "log": it is a function outside')
    one(tmp_path, "", shape(Import("res", resource(1))), "it is a resource outside")


def test_a_plain_name_does_not_say_what_it_is(tmp_path: Path) -> None:
    one(
        tmp_path,
        "",
        shape(Import("thing", plain())),
        'the import "thing" does not say',
        "wasmplex label app.wasm",
    )


# ---------------------------------------------------------------- routing by resource


def by_resource(*, capable: bool = True, grants: str = "") -> tuple[str, Shape]:
    """Labelled `cache` and `store`, an unlabelled `cas` that takes the buckets of both."""
    backend = 'backend = "memory"' if capable else 'backend = "redis"\nurl = "redis://localhost"'
    text = CACHE + grants + f"\n[workload.shop.import.store]\n{backend}\n{grants}"
    bucket = resource(7)
    return text, shape(
        Import(f"{CLOUD}/types@0.2.1", types_only()),
        Import("cache", opening(bucket), implements=f"{CLOUD}/store@0.2.1"),
        Import("store", opening(bucket), implements=f"{CLOUD}/store@0.2.1"),
        Import(f"{CLOUD}/cas@0.2.1", taking(bucket, "current")),
    )


def test_an_interface_of_foreign_resources_needs_no_binding(tmp_path: Path) -> None:
    found = route(tmp_path, *by_resource())
    cas = found.route(f"{CLOUD}/cas@0.2.1")
    assert cas.kind is RouteKind.RESOURCE
    assert cas.backend is None
    assert cas.provider is not None


def test_every_backend_within_reach_has_to_be_capable(tmp_path: Path) -> None:
    one(
        tmp_path,
        *by_resource(capable=False),
        "backend 'redis' does not support cas, which the import wasmcloud:keyvalue/cas@0.2.1 needs",
        'interfaces = ["store"]',
    )


def test_a_backend_out_of_reach_need_not_be_capable(tmp_path: Path) -> None:
    text, shape_ = by_resource(capable=False)
    found = route(tmp_path, text + 'interfaces = ["store"]', shape_)
    assert found.route("store").granted == frozenset({"store"})


def test_the_home_of_a_resource_needs_no_grant(tmp_path: Path) -> None:
    """`types` of wasmcloud:keyvalue has the bucket's methods; entries list only `store` there."""
    bucket = resource(7)
    types = InstanceType({
        "bucket": bucket,
        "[method]bucket.get": FuncType((Param("self", Borrow(bucket)),), TEXT),
    })  # fmt: skip
    store = Import("cache", opening(bucket), implements=f"{CLOUD}/store@0.2.1")
    found = route(
        tmp_path, CACHE + 'interfaces = ["store"]', shape(Import(f"{CLOUD}/types@0.2.1", types), store)
    )
    assert found.routes[0].kind is RouteKind.RESOURCE
    plain_store = Import(f"{CLOUD}/store@0.2.1", opening(bucket))
    text = f'[workload.shop.default."{CLOUD}"]\nbackend = "memory"\ninterfaces = ["store"]'
    assert route(tmp_path, text, shape(Import(f"{CLOUD}/types@0.2.1", types), plain_store)).routes


def test_what_no_binding_grants_is_refused(tmp_path: Path) -> None:
    one(tmp_path, *by_resource(grants='interfaces = ["store"]'), "no binding grants cas")


def test_several_that_no_binding_grants_have_one_remedy(tmp_path: Path) -> None:
    """Each alone undid the others: interfaces = ["atomics", "store"], interfaces = ["cas", "store"]."""
    bucket = resource(7)
    store = Import("cache", opening(bucket), implements=f"{CLOUD}/store@0.2.1")
    others = [Import(f"{CLOUD}/{name}@0.2.1", taking(bucket, name)) for name in ("atomics", "cas")]
    text = CACHE + 'interfaces = ["store"]'
    one(tmp_path, text, shape(store, *others), "no binding grants atomics and cas",
        'interfaces = ["atomics", "cas", "store"]')  # fmt: skip
    fixed = CACHE + 'interfaces = ["atomics", "cas", "store"]'
    assert route(tmp_path, fixed, shape(store, *others)).routes


def test_an_interface_with_a_function_without_a_resource_needs_a_binding(tmp_path: Path) -> None:
    mixed = InstanceType({**taking(resource(7)).exports, "reset": FuncType((), None)})
    one(tmp_path, "", shape(Import(BATCH, mixed)), f"no binding serves the unlabelled import {BATCH}")


def test_a_resource_deep_in_a_parameter_counts(tmp_path: Path) -> None:
    deep = ListType(TupleType((TEXT, Option(Borrow(resource(0))))))
    batch = InstanceType({"all": FuncType((Param("list", deep),), TEXT)})
    found = route(tmp_path, CACHE, shape(labelled("cache"), Import(BATCH, batch)))
    assert found.route(BATCH).kind is RouteKind.RESOURCE


def test_a_feature_the_default_backend_lacks(tmp_path: Path) -> None:
    text = f'[workload.shop.default."{KV}"]\nbackend = "redis"\nurl = "redis://localhost"'
    one(
        tmp_path,
        text,
        shape(unlabelled(), Import(ATOMICS, taking(resource(50)))),
        "backend 'redis' does not support increment",
        "declares ttl",
    )


def test_a_feature_that_a_plugin_has_misspelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'[workload.shop.default."{KV}"]\nbackend = "redis"\nurl = "redis://localhost"'
    monkeypatch.setattr(Redis, "features", frozenset({"incremnt", "ttl"}))
    one(
        tmp_path,
        text,
        shape(unlabelled(), Import(ATOMICS, taking(resource(50)))),
        "does not support increment",
        "declares incremnt, ttl; is 'incremnt' meant to be 'increment'?",
    )


# ---------------------------------------------------------------- settings


def test_keys_are_split_between_interface_and_backend(tmp_path: Path) -> None:
    text = """
        [workload.shop.import.cache]
        backend = "redis"
        url = { env = "URL" }
        buckets = ["a"]
        timeout = 3
        namespace = "shared"
    """
    found = route(tmp_path, text, shape(labelled("cache")), {"URL": "redis://u:hunter2@h"})
    only = found.routes[0]
    assert only.backend is not None
    assert only.settings.model_dump() == {"buckets": ("a",), "timeout": 3.0}
    assert only.backend.settings.model_dump() == {"url": "redis://u:hunter2@h", "timeout": 3.0}
    assert only.namespace == "shared"
    assert "redis://u:hunter2@h" in only.backend.hidden
    opened = {id(only.backend): Opened()}
    assert only.request(opened).namespace == "shared"
    assert only.request(opened).name == "store"
    assert only.request(opened).label == "cache"
    assert only.request(opened).base == tmp_path
    for text in (repr(found), str(found.rows())):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('backets = ["a"]', ('unknown key "backets"', "did you mean 'buckets'?")),
        ('ur = "x"', ('unknown key "ur"', "did you mean 'url'?")),
        ('namespce = "x"', ('unknown key "namespce"', "did you mean 'namespace'?")),
        ("namespace = 3", ("namespace is not valid",)),
        ('timeout = "soon"', ('timeout = "soon" is not valid',)),
    ],
)
def test_a_wrong_key_is_shown_with_its_line(tmp_path: Path, line: str, words: tuple[str, ...]) -> None:
    text = f'[workload.shop.import.cache]\nbackend = "redis"\nurl = "redis://h"\n{line}'
    one(tmp_path, text, shape(labelled("cache")), "host.toml:6", *words)


@pytest.mark.parametrize("written", ["3", '""'])
def test_a_wrong_namespace_is_one_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """Whether the interface has the key as well, or the binding alone."""

    class Named(Kv.settings):
        namespace: str | None = None

    monkeypatch.setattr(Kv, "settings", Named)
    text = f'[workload.shop.import.cache]\nbackend = "redis"\nurl = "redis://h"\nnamespace = {written}'
    one(tmp_path, text, shape(labelled("cache")), "host.toml:6", "is not valid")


def test_a_reference_that_leads_nowhere(tmp_path: Path) -> None:
    text = '[workload.shop.import.cache]\nbackend = "redis"\nurl = { env = "REDIS_URL" }'
    one(
        tmp_path,
        text,
        shape(labelled("cache")),
        "the environment variable REDIS_URL is not set",
        "host.toml:5",
    )


def test_files_are_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://from-a-file\n")
    text = '[workload.shop.import.cache]\nbackend = "redis"\nurl = { file = "url" }'
    found = route(tmp_path, text, shape(labelled("cache")))
    assert found.backends[0].settings.url == "redis://from-a-file"  # type: ignore[attr-defined]


def test_a_wrong_default_is_reported_once_for_all_its_imports(tmp_path: Path) -> None:
    text = DEFAULT + "wrong = 1"
    one(tmp_path, text, shape(unlabelled(), Import(ATOMICS, taking(resource(50)))), 'unknown key "wrong"')


# ---------------------------------------------------------------- relabelling


def test_from_gives_an_import_a_label(tmp_path: Path) -> None:
    text = CACHE + f'from = "labels:kv/cache@0.1.0"\ninterface = "{STORE}"'
    found = route(tmp_path, text, shape(Import("labels:kv/cache@0.1.0", opening(resource(0)))))
    assert found.relabels == {"labels:kv/cache@0.1.0": ("cache", STORE)}
    assert found.shape.imports[0].name == "cache"
    assert found.shape.imports[0].implements == STORE
    assert found.routes[0].request({id(found.backends[0]): Opened()}).interface == STORE


def test_from_needs_the_package_only_if_one_interface_can_be_meant(tmp_path: Path) -> None:
    text = CACHE + f'from = "labels:kv/cache@0.1.0"\ninterface = "{KV}"'
    found = route(tmp_path, text, shape(Import("labels:kv/cache@0.1.0", opening(resource(0)))))
    assert found.relabels["labels:kv/cache@0.1.0"] == ("cache", STORE)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('from = "labels:kv/cashe@0.1.0"', "did you mean 'labels:kv/cache@0.1.0'?"),
        ('from = "labels:kv/cache@0.1.0"', 'nothing says what the label "cache" implements'),
        ('from = "labels:kv/cache@0.1.0"\ninterface = "wasi:none"', "which interface of wasi:none"),
    ],
)
def test_from_that_cannot_be_followed(tmp_path: Path, lines: str, words: str) -> None:
    used = shape(Import("labels:kv/cache@0.1.0", opening(resource(0))))
    assert words in refusal(tmp_path, CACHE + lines, used)


def test_from_does_not_take_a_label_that_is_there(tmp_path: Path) -> None:
    text = CACHE + f'from = "labels:kv/other@0.1.0"\ninterface = "{STORE}"'
    rendered = refusal(
        tmp_path, text, shape(labelled("cache"), Import("labels:kv/other@0.1.0", opening(resource(1))))
    )
    assert 'has an import "cache" already' in rendered


def test_an_import_gets_one_label(tmp_path: Path) -> None:
    line = f'from = "labels:kv/one@0.1.0"\ninterface = "{STORE}"\n'
    text = CACHE + line + '[workload.shop.import.other]\nbackend = "memory"\n' + line
    one(
        tmp_path,
        text,
        shape(Import("labels:kv/one@0.1.0", opening(resource(0)))),
        "labels:kv/one@0.1.0 is given a second label",
    )


# ---------------------------------------------------------------- triggers and grants


def test_a_trigger_finds_the_export_it_calls(tmp_path: Path) -> None:
    found = route(tmp_path, 'trigger.http = { path = "/shop" }', shape(exports=(HTTP,)))
    (trigger,) = found.triggers
    assert trigger.export.name == HTTP
    assert trigger.settings.path == "/shop"  # type: ignore[attr-defined]
    assert trigger.adapter.trigger == "http"


def test_a_trigger_without_an_export(tmp_path: Path) -> None:
    one(
        tmp_path,
        "trigger.http = {}",
        shape(exports=("run",)),
        'nothing that the trigger "http" can call',
        "it exports run",
        "export wasi:http/incoming-handler@0.2.12",
    )


def test_a_wrong_trigger_table(tmp_path: Path) -> None:
    one(tmp_path, 'trigger.http = { pth = "/" }', shape(exports=(HTTP,)), 'unknown key "pth"', "'path'")


@pytest.mark.parametrize("text", ['env = { A = "a\\u0000b" }', 'args = ["a\\u0000b"]'])
def test_no_text_for_the_guest_holds_a_nul(tmp_path: Path, text: str) -> None:
    with pytest.raises(WasmplexError, match="must not hold a NUL character"):
        route(tmp_path, text, shape())


def test_grants_are_resolved_and_not_printed(tmp_path: Path) -> None:
    found = route(tmp_path, 'env = { A = "1", B = { env = "B" } }\nargs = ["x"]', shape(), {"B": "hunter2"})
    assert found.grants.env == {"A": "1", "B": "hunter2"}
    assert found.grants.args == ("x",)
    assert "hunter2" not in repr(found)


# ---------------------------------------------------------------- plugins that misbehave


class Broken(Kv):
    package = "bad:kv"

    def features(self, interface: str, type: InstanceType) -> frozenset[str]:
        raise LookupError("no luck")


def test_a_provider_that_raises_is_named(tmp_path: Path) -> None:
    found = registry()
    found.add(Broken(), "broken")
    workload = config(tmp_path, CACHE).workloads["shop"]
    with pytest.raises(RoutingError, match="raised LookupError: no luck") as caught:
        plan(workload, shape(labelled("cache", interface="bad:kv/store@0.2.0-draft")), found, {})
    assert "plugin broken" in caught.value.render()


class Loud(BackendProvider[Any]):
    name = "loud"
    capability = "keyvalue"

    class settings(Settings):  # noqa: N801
        url: str = ""

        @model_validator(mode="after")
        def check(self) -> Any:
            raise ZeroDivisionError("in a model")

    async def open(self, settings: Any, context: OpenContext) -> Any:
        raise NotImplementedError


def test_a_settings_model_that_raises_is_reported(tmp_path: Path) -> None:
    found = registry()
    found.add(Loud())
    workload = config(tmp_path, '[workload.shop.import.cache]\nbackend = "loud"').workloads["shop"]
    with pytest.raises(RoutingError, match="ZeroDivisionError"):
        plan(workload, shape(labelled("cache")), found, {})


# ---------------------------------------------------------------- the table


def test_the_routing_table_has_a_row_for_each_import(tmp_path: Path) -> None:
    imports = (
        labelled("cache"),
        Import("wasi:clocks/wall-clock@0.2.3", plain()),
        Import("t:t/types", types_only()),
    )
    rows = route(tmp_path, CACHE, shape(*imports)).rows()
    assert [row.import_ for row in rows] == ["cache", "wasi:clocks/wall-clock@0.2.3", "t:t/types"]
    assert [row.served_by for row in rows] == ["backend memory", "host", "types"]
    assert rows[0].interface == STORE
    assert rows[0].namespace == "shop/cache"
    assert "host.toml:3 (workload.shop.import.cache)" in rows[0].where


def test_an_unknown_name_has_no_route(tmp_path: Path) -> None:
    found: Plan = route(tmp_path, "", shape())
    with pytest.raises(KeyError):
        found.route("cache")
    assert found.shape == Shape((), ())
    assert Export("run", plain()).label is None
