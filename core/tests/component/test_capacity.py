"""What instances of a component take besides memories, counted in its binary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from wasmplex.component import read
from wasmplex.component.capacity import Capacity
from wasmtime import wat2wasm


def capacity(text: str) -> Capacity:
    return read(bytes(wat2wasm(text))).capacity


ONE = "(core module $m (table 1 2 funcref) (table 7 externref))"
TWICE = "(instance (instantiate $i)) (instance (instantiate $i))"


def test_each_instance_counts() -> None:
    found = capacity(f"(component {ONE} (core instance (instantiate $m)) (core instance (instantiate $m)))")
    assert found.tables == {(1, 2): 2, (7, 2**63): 2}
    assert (found.elements, found.largest(), found.known) == (16, 7, True)


def test_modules_without_an_instance_do_not_count() -> None:
    assert capacity(f"(component {ONE})").tables == {}


def test_components_within_count_as_often_as_they_are_instantiated() -> None:
    text = f"""(component {ONE}
      (component $inner (alias outer 1 $m (core module $n)) (core instance (instantiate $n)))
      (component $double (alias outer 1 $inner (component $i)) {TWICE})
      (instance (instantiate $double)) (instance (instantiate $double)) (instance (instantiate $inner)))"""
    found = capacity(text)
    assert found.tables == {(1, 2): 5, (7, 2**63): 5}
    assert found.known


def test_a_doubling_of_components_is_counted_in_no_time() -> None:
    nested = f"(component $c0 {ONE} (core instance (instantiate $m)))"
    for level in range(1, 30):
        nested += f"(component $c{level} (alias outer 1 $c{level - 1} (component $i)) {TWICE})"
    found = capacity(f"(component {nested} (instance (instantiate $c29)))")
    assert found.tables[(1, 2)] == 2**29


def test_a_module_from_elsewhere_is_unknown() -> None:
    text = """(component
      (component $inner (import "m" (core module $n)) (core instance (instantiate $n)))
      (core module $m (table 5 funcref))
      (instance (instantiate $inner (with "m" (core module $m)))))"""
    assert not capacity(text).known


def test_a_table_with_an_initializer_is_unknown() -> None:
    module = "(core module $m (table 5 (ref null func) (ref.null func)))"
    assert not capacity(f"(component {module} (core instance (instantiate $m)))").known


tables = st.dictionaries(
    st.tuples(st.integers(0, 50), st.one_of(st.just(2**63), st.integers(0, 60))).map(
        lambda t: (t[0], max(t))
    ),
    st.integers(1, 5),
    max_size=6,
)


@given(tables, st.integers(0, 2000))
def test_the_bound_is_the_largest_that_keeps_all_tables_within(
    counts: dict[tuple[int, int], int], elements: int
) -> None:
    found = Capacity(counts)
    bound = found.bound(elements)
    if bound is None:
        assert found.reached(found.largest()) > elements
    else:
        assert found.reached(bound) <= elements
        assert bound >= found.largest()
        assert bound == elements or found.reached(bound + 1) > elements
