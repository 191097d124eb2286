"""What is counted where it happens."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from wasmplex.metrics.families import Family

__all__ = ["BOUNDS", "Calls", "Figures", "Timing"]

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of the buckets of a latency; one more bucket has what is longer."""


class Timing:
    """How long something took each time."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Note that it took so long once more."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class Calls:
    """How often one host function was called, and how often that failed."""

    __slots__ = ("count", "errors")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0


class Figures:
    """The counters of one process; hosts that follow each other in it count on.

    :ivar deliveries: by workload, trigger and outcome, of which there are few: the status of a response
    :ivar timings: by workload and trigger
    :ivar calls: by workload, label and function
    :ivar failures: by workload and cause
    """

    def __init__(self) -> None:
        self.deliveries: Counter[tuple[str, str, str]] = Counter()
        self.timings: dict[tuple[str, str], Timing] = {}
        self.calls: dict[tuple[str, str, str], Calls] = {}
        self.failures: Counter[tuple[str, str]] = Counter()

    def delivered(self, workload: str, trigger: str, outcome: str, seconds: float) -> None:
        """Count what a trigger had a workload do."""
        self.deliveries[workload, trigger, outcome] += 1
        timing = self.timings.get((workload, trigger))
        if timing is None:
            timing = self.timings.setdefault((workload, trigger), Timing())
        timing.add(seconds)

    def operation(self, workload: str, label: str, function: str) -> Calls:
        """Return where calls of a host function are counted."""
        return self.calls.setdefault((workload, label, function), Calls())

    def families(self) -> list[Family]:
        """Return what has been counted so far."""
        labels = ("workload", "trigger")
        requests = Family(
            "wasmplex_requests",
            "counter",
            "What triggers brought, by how it ended.",
            (*labels, "status"),
        )
        requests.samples = {values: [count] for values, count in self.deliveries.items()}
        latency = Family(
            "wasmplex_request_seconds", "histogram", "From what a trigger brought to the end of it.", labels
        )
        latency.samples = {values: [*t.buckets, t.seconds] for values, t in self.timings.items()}
        names = ("workload", "label", "function")
        calls = Family(
            "wasmplex_host_calls", "counter", "Calls of host functions that a backend serves.", names
        )
        errors = Family("wasmplex_host_call_errors", "counter", "Those that gave the guest an error.", names)
        for values, counted in self.calls.items():
            if counted.count:
                calls.add(values, counted.count)
                errors.add(values, counted.errors)
        failures = Family(
            "wasmplex_failures",
            "counter",
            "Calls of guests that the host had to end, or refuse.",
            ("workload", "cause"),
        )
        failures.samples = {values: [count] for values, count in self.failures.items()}
        return [requests, latency, calls, errors, failures]
