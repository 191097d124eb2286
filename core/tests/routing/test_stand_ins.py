"""Imports that look like an interface that is served, and those that are said to be one and are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasmplex.component import read
from wasmplex.component.shape import Import, InstanceType
from wasmplex.config import load
from wasmplex.errors import Diagnostic, RoutingError
from wasmplex.plugins import Registry
from wasmplex.routing import plan
from wasmplex.routing.lookalikes import lookalikes
from wasmplex.wit.served import served
from wasmplex.wit.source import parse
from wasmplex.wit.types import (
    Borrow,
    FuncType,
    ListType,
    Option,
    Own,
    Param,
    Primitive,
    Resource,
    ResultType,
    ValueType,
    VariantType,
)

from .worlds import config, shape

CACHE = "labels:kv/cache@0.1.0"
STORE = "wasi:keyvalue/store@0.2.0-draft"
TEXT, BYTES = Primitive("string"), ListType(Primitive("u8"))


def stand_in(name: str = CACHE, got: ValueType = BYTES, *, extra: str = "") -> Import:
    """A part of ``store``, its error under another name."""
    bucket, error = Resource(0, "bucket", name), VariantType((), "failure")
    get = FuncType((Param("self", Borrow(bucket)), Param("key", TEXT)), ResultType(Option(got), error))
    exports = {
        "bucket": bucket,
        "failure": error,
        "open": FuncType((Param("identifier", TEXT),), ResultType(Own(bucket), error)),
        "[method]bucket.get": get,
    }
    return Import(name, InstanceType({**exports, **({extra: get} if extra else {})}))  # type: ignore[dict-item]


def problems(folder: Path, text: str, *imports: Import) -> tuple[Diagnostic, ...]:
    found = config(folder, text)
    with pytest.raises(RoutingError) as caught:
        plan(found.workloads["shop"], shape(*imports), Registry(disable=""), {})
    return caught.value.diagnostics


def test_what_is_printed_for_a_forgotten_from_can_be_pasted(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "", stand_in())
    assert problem.lines == (
        "[workload.shop.import.cache]",
        f'from = "{CACHE}"',
        f'interface = "{STORE}"',
        'backend = "memory"',
    )
    pasted = config(tmp_path, "\n".join(problem.lines))
    (route,) = plan(pasted.workloads["shop"], shape(stand_in()), Registry(disable=""), {}).routes
    assert route.import_.name == "cache"


def test_it_can_be_pasted_into_yaml(tmp_path: Path) -> None:
    (tmp_path / "app.wasm").touch()
    start = "workload:\n  shop:\n    component: app.wasm\n"
    (tmp_path / "host.yaml").write_text(start)
    with pytest.raises(RoutingError) as caught:
        plan(load(tmp_path).workloads["shop"], shape(stand_in()), Registry(disable=""), {})
    (problem,) = caught.value.diagnostics
    (tmp_path / "host.yaml").write_text(start + "".join(f"    {line}\n" for line in problem.lines))
    assert plan(load(tmp_path).workloads["shop"], shape(stand_in()), Registry(disable=""), {}).routes


def test_a_binding_for_the_label_is_told_what_it_lacks(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[workload.shop.import.cache]\nbackend = "memory"', stand_in())
    assert problem.where.endswith("/host.toml:3 (workload.shop.import.cache)")
    assert problem.lines == (f'from = "{CACHE}"', f'interface = "{STORE}"')


@pytest.mark.parametrize(
    "other",
    [stand_in(got=TEXT), stand_in(extra="[method]bucket.fetch"), Import(CACHE, InstanceType({}))],
)
def test_what_looks_like_nothing_is_no_stand_in(tmp_path: Path, other: Import) -> None:
    (problem,) = problems(tmp_path, '[workload.shop.import.x]\nbackend = "memory"', other)[-1:]
    assert problem.lines == ()


LABEL = f'[workload.shop.import.cache]\nbackend = "memory"\nfrom = "{CACHE}"\ninterface = '


@pytest.mark.parametrize(
    ("interface", "import_", "why", "fix"),
    [
        ("wasi:keyvalue/batch@0.2.0-draft", stand_in(), "open is not served; there are get-many, ",
         f'interface = "{STORE}"'),
        (STORE, stand_in(got=TEXT),
         "bucket.get returns result<option<string>, failure>, and is served with result<",
         "build the component against the WIT of "),
        (STORE, stand_in(extra="[method]bucket.fetch"), "bucket.fetch is not served; there are bucket.get, ",
         "build the component against the WIT of "),
    ],
)  # fmt: skip
def test_a_label_is_what_its_interface_is(
    tmp_path: Path, interface: str, import_: Import, why: str, fix: str
) -> None:
    (problem,) = problems(tmp_path, f'{LABEL}"{interface}"', import_)
    assert problem.what == f"the import {CACHE} is not {interface} as it is served"
    assert problem.where.endswith("/host.toml:6 (workload.shop.import.cache.interface)")
    assert problem.why.startswith(why)
    assert problem.fix.startswith(fix)


def test_from_may_stand_in_the_config_of_a_host_interface(tmp_path: Path) -> None:
    text = f"""
        [[workload.shop.host_interfaces]]
        namespace = "wasi"
        package = "keyvalue"
        interfaces = ["store"]
        version = "0.2.0-draft"
        name = "cache"
        config = {{ backend = "memory", from = "{CACHE}" }}
    """
    found = plan(config(tmp_path, text).workloads["shop"], shape(stand_in()), Registry(disable=""), {})
    assert [(route.import_.name, route.import_.implements) for route in found.routes] == [("cache", STORE)]


def test_every_package_that_is_served_can_be_read() -> None:
    folder = Path(__file__).parents[3] / "wit"
    files = [*folder.glob("*/*.wit")]
    assert len(files) > 8
    for file in files:
        written = parse(file.read_text())
        package = served(written.name, written.version)
        assert package == written, file
        assert package.interfaces
        assert served(written.name) is not None
    assert served("wasi:keyvalue", "0.9.0") is None
    assert served("wasi:nn") is None
    assert served("../wit:wasi") is None


@pytest.mark.parametrize(
    "guest",
    [
        "kvthree",
        "kvaforward-labelled",
        "courier",
        "courier-old",
        "pgforward",
        "pgforward-draft",
    ],
)
def test_what_guests_import_is_known_by_its_functions(guest: str) -> None:
    component = read((Path(__file__).parents[3] / f"tests/guests/built/{guest}.wasm").read_bytes())
    labelled = [import_ for import_ in component.imports if import_.label is not None]
    assert labelled
    for import_ in labelled:
        assert isinstance(import_.type, InstanceType)
        assert [found.interface for found in lookalikes(import_.type, Registry(disable=""))] == [
            import_.interface
        ]
