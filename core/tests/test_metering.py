"""What is measured of a running host, and how it is counted and shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from wasmplex.backends import PoolStatistics as BackendStatistics
from wasmplex.backends.statistics import ProviderStatistics
from wasmplex.errors import DeadlineExceeded, GuestExit, LimitExceeded, LimitReached, Trap
from wasmplex.instances import PoolStatistics
from wasmplex.metering import cause_of, metered, of_backends, of_workloads
from wasmplex.metrics import BOUNDS, Family, Figures, labelled, merged
from wasmplex.metrics.exposition import exposition
from wasmplex.plugins.contracts import HostFunction
from wasmplex.values import Err


def samples(families: list[Family]) -> dict[str, float]:
    text = exposition(families).decode()
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.anyio
async def test_calls_and_their_errors_are_counted() -> None:
    async def get(key: str) -> str:
        if not key:
            raise Err("no key")
        return key

    def exists(instance: object, key: str) -> bool:
        return key == "a" and instance is figures

    figures = Figures()
    functions = metered({"get": get, "exists": HostFunction(exists, context=True)}, figures, "shop", "cache")
    wrapped, plain = functions["get"], functions["exists"]
    assert isinstance(plain, HostFunction)
    assert plain.context
    assert callable(wrapped)
    assert await wrapped("a") == "a"
    with pytest.raises(Err, match="no key"):
        await wrapped("")
    assert plain.call(figures, "a") is True
    calls = figures.operation("shop", "cache", "get")
    assert (calls.count, calls.errors) == (2, 1)
    found = samples(figures.families())
    labels = [("function", "get"), ("label", "cache"), ("workload", "shop")]
    assert found[f"wasmplex_host_calls_total{labels}"] == 2
    assert found[f"wasmplex_host_call_errors_total{labels}"] == 1


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_each_latency_once(latencies: list[float]) -> None:
    figures = Figures()
    for seconds in latencies:
        figures.delivered("shop", "http", "200", seconds)
    found = samples(figures.families())
    labels = [("trigger", "http"), ("workload", "shop")]
    for bound in BOUNDS:
        at_most = found.get(f"wasmplex_request_seconds_bucket{[('le', str(bound)), *labels]}", 0)
        assert at_most == sum(seconds <= bound for seconds in latencies)
    assert found.get(f"wasmplex_request_seconds_count{labels}", 0) == len(latencies)
    assert found.get(f"wasmplex_request_seconds_sum{labels}", 0) == pytest.approx(sum(latencies))


NAMES = st.text(max_size=5)
COUNTERS = st.dictionaries(st.tuples(NAMES, NAMES), st.integers(0, 1 << 50))


@given(st.lists(COUNTERS, max_size=4))
def test_families_of_several_processes_add_up(found: list[dict[tuple[str, str], int]]) -> None:
    families = [
        Family("x", "counter", "X.", ("a", "b"), {values: [n] for values, n in one.items()}) for one in found
    ]
    handed = [Family.of_json(family.to_json()) for family in families]
    assert handed == families
    totals = {values: sum(one.get(values, 0) for one in found) for one in found for values in one}
    for family in merged(handed):
        assert {values: n for values, (n,) in family.samples.items()} == totals
    numbered = [labelled([family], "worker", str(n)) for n, family in enumerate(handed)]
    together = merged(family for families in numbered for family in families)
    assert sum(len(family.samples) for family in together) == sum(map(len, found))
    assert len(samples(together)) == sum(map(len, found)), "whatever is in a label, each is read as its own"


def _in_a_call(error: LimitExceeded) -> LimitExceeded:
    error.called = True
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Trap("x"), "trap"),
        (DeadlineExceeded("x"), "deadline"),
        (LimitExceeded("x"), "busy"),
        (_in_a_call(LimitExceeded("a list of a million values is passed")), "limit"),
        (Err("x"), ""),
        (GuestExit(3), "exit"),
        (GuestExit(0), ""),
        (KeyboardInterrupt(), ""),
    ],
)
def test_causes(error: BaseException, expected: str) -> None:
    assert cause_of(error) == expected
    assert issubclass(LimitReached, Trap), "so it has to be looked for first"
    assert not issubclass(GuestExit, Trap)


class Shop:
    name = "shop"

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(5, 2, 3, 9)


def test_instances_and_backends() -> None:
    shop = [("workload", "shop")]
    found = samples(of_workloads([Shop()]))
    assert found[f"wasmplex_instances_live{shop}"] == 5
    assert found[f"wasmplex_instances_idle{shop}"] == 2
    assert found[f"wasmplex_calls_waiting{shop}"] == 3
    assert found[f"wasmplex_instances_created_total{shop}"] == 9
    one = ProviderStatistics(open=2, bindings=3, opened=4, shared=1, failed=5, closed=2, down=1, outages=6)
    found = samples(of_backends(BackendStatistics(one, {"redis": one})))
    redis = [("backend", "redis")]
    assert found[f"wasmplex_backends_open{redis}"] == 2
    assert found[f"wasmplex_backends_down{redis}"] == 1
    assert found[f"wasmplex_backend_outages_total{redis}"] == 6
    assert found[f"wasmplex_backend_failures_total{redis}"] == 5
