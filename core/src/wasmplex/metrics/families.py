"""Figures as they are handed from process to process: families of samples, as Prometheus has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

__all__ = ["Family", "Kind", "Samples", "labelled", "merged"]

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Samples: TypeAlias = "dict[tuple[str, ...], list[float]]"
"""By the values of the labels. One number; of a histogram the count in each bucket, then the sum."""


@dataclass
class Family:
    """All samples of one name.

    :ivar name: without ``_total``, which exposition adds to counters
    :ivar help: one sentence, for people
    :ivar labels: their names, in the order of the values in `samples`
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    samples: Samples = field(default_factory=dict)

    def add(self, values: tuple[str, ...], *numbers: float) -> Self:
        """Add numbers to a sample."""
        before = self.samples.get(values)
        self.samples[values] = (
            list(numbers) if before is None else [a + b for a, b in zip(before, numbers, strict=True)]
        )
        return self

    def to_json(self) -> dict[str, Any]:
        """Return what `of_json` takes, for another process."""
        samples = [[list(values), numbers] for values, numbers in self.samples.items()]
        return {
            "name": self.name,
            "kind": self.kind,
            "help": self.help,
            "labels": self.labels,
            "samples": samples,
        }

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the family that another process has handed over."""
        samples = {tuple(values): numbers for values, numbers in data["samples"]}
        return cls(data["name"], data["kind"], data["help"], tuple(data["labels"]), samples)


def merged(families: Iterable[Family]) -> list[Family]:
    """Return one family for each name, with the sums of equal samples."""
    found: dict[str, Family] = {}
    for family in families:
        one = found.setdefault(family.name, Family(family.name, family.kind, family.help, family.labels))
        for values, numbers in family.samples.items():
            one.add(values, *numbers)
    return list(found.values())


def labelled(families: Iterable[Family], name: str, value: str) -> list[Family]:
    """Return the families with one more label in front."""
    return [
        Family(
            family.name,
            family.kind,
            family.help,
            (name, *family.labels),
            {(value, *values): numbers for values, numbers in family.samples.items()},
        )
        for family in families
    ]
