"""Families as the text that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from wasmplex.metrics.families import Family
from wasmplex.metrics.figures import BOUNDS

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BOUNDS = (*map(str, BOUNDS), "+Inf")


def exposition(families: Iterable[Family]) -> bytes:
    """Return the families in the text format 0.0.4 of Prometheus."""
    return generate_latest(_Families(families))


class _Families(Collector):
    """What the library asks for what is to be shown."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for values, (*buckets, seconds) in family.samples.items():
            counts = accumulate(buckets)
            histogram.add_metric(values, list(zip(_BOUNDS, counts, strict=True)), sum_value=seconds)
        return histogram
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = make(family.name, family.help, labels=family.labels)
    for values, (number,) in family.samples.items():
        metric.add_metric(values, number)
    return metric
