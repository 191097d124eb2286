"""What holds for every workload, whatever its imports and bindings are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import assume, example, given
from hypothesis import strategies as st
from wasmplex.component.shape import Export, Import, NamedType, Shape
from wasmplex.config import BindingConfig, EnvRef, Location, Table, WorkloadConfig
from wasmplex.errors import RoutingError
from wasmplex.plugins import Registry
from wasmplex.routing import Plan, RouteKind, plan
from wasmplex.routing.matching import fits, same_track
from wasmplex.wit.names import InterfaceId, compatible, track
from wasmplex.wit.types import Primitive

from .worlds import CLOUD, KV, STORE, Everything, opening, plain, resource, store, taking, types_only

REGISTRY = Registry(path=[], disable="")
REGISTRY.add(Everything(), "everything")

LABELS = ("cache", "store", "audit", "session-data")
PACKAGES = (KV, CLOUD, "wasi:clocks", "acme:geo", "wasi:nothing")
VERSIONS = ("0.2.0-draft", "0.2.1", "0.2.6", "0.3.0", "1.0.0", "0.2", "0.0.1")


def binding(label: str | None, package: str | None, line: int, **others: Any) -> BindingConfig:
    path = f"workload.shop.import.{label}" if label else f'workload.shop.default."{package}"'
    values = others.pop("values", {})
    given_ = {"version": None, "interfaces": None, "backend": "memory", "from_": None, **others}
    return BindingConfig(
        label=label, package=package, settings=Table(values, Location("host.toml", line, path)), **given_
    )


def workload(bindings: Sequence[BindingConfig], triggers: dict[str, Table] | None = None) -> WorkloadConfig:
    return WorkloadConfig(
        "shop",
        Path("app.wasm"),
        Location("host.toml", 1, "workload.shop"),
        bindings=tuple(bindings),
        triggers={name: (table,) for name, table in (triggers or {}).items()},
    )


def attempt(
    bindings: Sequence[BindingConfig], shape: Shape, triggers: dict[str, Table] | None = None
) -> Plan | RoutingError:
    """Return the plan, or why there is none. Anything else that is raised fails the test by itself."""
    try:
        return plan(workload(bindings, triggers), shape, REGISTRY, {})
    except RoutingError as error:
        return error


World: TypeAlias = tuple[list[BindingConfig], Shape]


# ---------------------------------------------------------------- anything at all

names = st.one_of(
    st.sampled_from(LABELS),
    st.builds(
        "{}/{}@{}".format,
        st.sampled_from(PACKAGES),
        st.sampled_from(["store", "atomics", "cas", "types", "lookup", "wall-clock"]),
        st.sampled_from(VERSIONS),
    ),
    st.text(max_size=12),
)
types = st.sampled_from([
    store(resource(0)), store(resource(1)), opening(resource(0)), taking(resource(0)), taking(resource(1)),
    plain(), types_only(), resource(3), NamedType(Primitive("u8")), plain().functions["now"],
])  # fmt: skip
imports = st.builds(
    Import,
    names,
    types,
    implements=st.none() | names,
    version_suffix=st.none() | st.sampled_from([".3", "x"]),
)
bindings = st.builds(
    binding,
    st.none() | st.sampled_from(LABELS) | st.text(max_size=8),
    st.none() | st.sampled_from(PACKAGES) | st.text(max_size=8),
    st.integers(1, 99),
    version=st.none() | st.sampled_from(VERSIONS) | st.text(max_size=5),
    interfaces=st.none() | st.frozensets(st.sampled_from(["store", "atomics", "cas", "nope"]), max_size=3),
    backend=st.none() | st.sampled_from(["memory", "redis", "files", "nope", "memory@nope", "@", ""]),
    from_=st.none() | names,
    values=st.dictionaries(
        st.sampled_from(["url", "timeout", "namespace", "buckets", "zoom", "x"]),
        st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)
        | st.just(EnvRef("NOT_SET")),
        max_size=3,
    ),
)  # fmt: skip


@given(
    st.lists(imports, max_size=5, unique_by=lambda i: i.name),
    st.lists(bindings, max_size=5),
    st.lists(names, max_size=2),
    st.dictionaries(st.sampled_from(["http", "cron", ""]), st.just(Table({"path": "/"})), max_size=2),
)
def test_the_outcome_is_a_plan_or_a_routing_error(
    imports: list[Import], bindings: list[BindingConfig], exports: list[str], triggers: dict[str, Table]
) -> None:
    shape = Shape(tuple(imports), tuple(Export(name, plain()) for name in exports))
    found = attempt(bindings, shape, triggers)
    if isinstance(found, Plan):
        served = [i.name for i in found.shape.imports if not isinstance(i.type, NamedType)]
        assert [route.import_.name for route in found.routes] == served
        return
    assert found.diagnostics
    assert len(set(found.diagnostics)) == len(found.diagnostics)
    for diagnostic in found.diagnostics:
        assert diagnostic.what
        assert len(diagnostic.render().splitlines()) <= 4


# ---------------------------------------------------------------- workloads that are right


@st.composite
def right(draw: st.DrawFn) -> World:
    """A workload that fits: every label bound, a default where one is needed, nothing too much."""
    labels = draw(st.lists(st.sampled_from(LABELS), unique=True))
    found: list[Import] = []
    made: list[BindingConfig] = []
    line = iter(draw(st.permutations(range(10, 30))))
    for number, label in enumerate(labels):
        cloud = draw(st.booleans())
        interface = f"{CLOUD}/store@{draw(st.sampled_from(['0.2.1', '0.2.6', '0.2']))}" if cloud else STORE
        package = CLOUD if cloud else KV
        bucket = resource(1000 if cloud else number, label)
        found.append(Import(label, opening(bucket) if cloud else store(bucket), implements=interface))
        backend: dict[str, Any] = {"backend": "memory"}
        if draw(st.booleans()) and not cloud:
            backend = {"backend": "redis", "values": {"url": f"redis://{label}"}}
        checked = draw(st.sampled_from([None, package]))
        version = draw(st.sampled_from([None, interface.partition("@")[2]]))
        made.append(binding(label, checked, next(line), version=version, **backend))
    if draw(st.booleans()):
        found.append(Import(STORE, store(resource(50))))
        made.append(
            binding(None, KV, next(line), interfaces=draw(st.sampled_from([None, frozenset({"store"})])))
        )
    if any(i.implements and i.implements.startswith(CLOUD) for i in found) and draw(st.booleans()):
        found.append(Import(f"{CLOUD}/cas@0.2.1", taking(resource(1000), "swap")))
    if draw(st.booleans()):
        found.append(Import("wasi:clocks/wall-clock@0.2.3", plain()))
    if draw(st.booleans()):
        found.append(Import(f"{CLOUD}/types@0.2.1", types_only()))
    order = draw(st.permutations(found))
    return draw(st.permutations(made)), Shape(tuple(order), ())


@given(right())
def test_every_import_of_an_accepted_plan_is_served_exactly_once(
    world: World,
) -> None:
    bindings, shape = world
    found = attempt(bindings, shape)
    assert isinstance(found, Plan), found
    assert [route.import_ for route in found.routes] == list(shape.imports)
    for route in found.routes:
        if route.import_.label is not None:
            own = next(b for b in bindings if b.label == route.import_.label)
            assert route.kind is RouteKind.BINDING
            assert route.where == own.settings.location
            assert route.backend is not None
            assert route.backend.selector == own.backend
            assert route.namespace == f"shop/{own.label}"
    assert len(found.backends) == len(bindings)


@given(right(), st.data())
def test_removing_a_binding_that_is_used_is_an_error(world: World, data: st.DataObject) -> None:
    bindings, shape = world
    assume(bindings)
    gone = data.draw(st.sampled_from(bindings))
    found = attempt([b for b in bindings if b is not gone], shape)
    assert isinstance(found, RoutingError)
    assert any("no binding serves" in d.what for d in found.diagnostics)


@given(right(), st.data())
def test_removing_an_import_that_a_binding_serves_is_an_error(world: World, data: st.DataObject) -> None:
    bindings, shape = world
    bound = [i for i in shape.imports if i.label is not None or i.name == STORE]
    assume(bound)
    gone = data.draw(st.sampled_from(bound))
    found = attempt(bindings, replace(shape, imports=tuple(i for i in shape.imports if i is not gone)))
    assert isinstance(found, RoutingError)


@given(right(), st.integers(0, 9))
def test_binding_anything_twice_is_an_error(world: World, number: int) -> None:
    bindings, shape = world
    assume(bindings)
    twin = bindings[number % len(bindings)]
    found = attempt([*bindings, replace(twin, settings=replace(twin.settings))], shape)
    assert isinstance(found, RoutingError)


@given(right(), st.data())
def test_the_order_of_bindings_does_not_matter(world: World, data: st.DataObject) -> None:
    bindings, shape = world
    one = attempt(bindings, shape)
    other = attempt(data.draw(st.permutations(bindings)), shape)
    assert isinstance(one, Plan)
    assert isinstance(other, Plan)
    assert one.rows() == other.rows()


@given(st.lists(imports, max_size=4, unique_by=lambda i: i.name), st.lists(bindings, max_size=4), st.data())
def test_the_order_of_wrong_bindings_does_not_matter_either(
    imports: list[Import], bindings: list[BindingConfig], data: st.DataObject
) -> None:
    lines = data.draw(st.lists(st.integers(1, 99), unique=True, min_size=4, max_size=4))
    placed = [
        replace(b, settings=replace(b.settings, location=replace(b.settings.location, line=line)))
        for b, line in zip(bindings, lines, strict=False)
    ]
    shape = Shape(tuple(imports), ())
    one, other = attempt(placed, shape), attempt(data.draw(st.permutations(placed)), shape)
    assert type(one) is type(other)
    if isinstance(one, RoutingError) and isinstance(other, RoutingError):
        assert set(one.diagnostics) == set(other.diagnostics)


def test_of_two_defaults_the_one_higher_up_counts_whatever_the_order() -> None:
    upper, lower = binding(None, "acme:geo", 3, backend=None), binding(None, "acme:geo", 4, backend=None)
    shape = Shape((Import("acme:geo/store@0.2.0-draft", plain()),), ())
    one, other = attempt([upper, lower], shape), attempt([lower, upper], shape)
    assert isinstance(one, RoutingError)
    assert isinstance(other, RoutingError)
    assert set(one.diagnostics) == set(other.diagnostics)


# ---------------------------------------------------------------- the algebra of canonical versions

numbers = st.integers(0, 40)
releases = st.builds("{}.{}.{}".format, numbers, numbers, numbers)
versions = releases | st.builds("{}-{}".format, releases, st.sampled_from(["draft", "rc.1", "rc.2", "0.a"]))


@given(versions, versions, versions)
@example("0.2.1", "0.2.6", "0.2.3")
@example("1.0.0", "1.9.9", "1.2.0")
def test_tracks_divide_versions_into_classes(one: str, two: str, three: str) -> None:
    assert same_track(one, one)
    assert same_track(one, two) == same_track(two, one)
    if same_track(one, two) and same_track(two, three):
        assert same_track(one, three)
    assert same_track(one, two) == (track(one) == track(two))


@given(versions, versions)
def test_a_version_serves_only_its_own_track(wanted: str, served: str) -> None:
    if compatible(wanted, served):
        assert same_track(wanted, served)
    if same_track(wanted, served):
        assert compatible(wanted, served) or compatible(served, wanted), "the higher serves both"


@given(versions)
def test_a_pre_release_only_equals_itself(version: str) -> None:
    release, _, pre = version.partition("-")
    assert same_track(version, release) is (not pre)


@given(numbers, numbers, numbers, numbers)
def test_the_leftmost_number_that_is_not_zero_decides(major: int, minor: int, one: int, two: int) -> None:
    assert same_track(f"{major + 1}.{minor}.{one}", f"{major + 1}.{one}.{two}")
    assert same_track(f"0.{minor + 1}.{one}", f"0.{minor + 1}.{two}")
    assert same_track(f"0.0.{one}", f"0.0.{two}") is (one == two)


@given(versions, versions)
def test_a_binding_fits_by_track(written: str, imported: str) -> None:
    interface = InterfaceId("wasi", "keyvalue", "store", imported)
    assert fits(binding("cache", None, 1, version=written), interface) is same_track(written, imported)
    assert fits(binding("cache", KV, 1), interface)
    assert not fits(binding("cache", CLOUD, 1, version=imported), interface)
