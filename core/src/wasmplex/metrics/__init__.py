"""What a host counts while it runs, and how that is shown to Prometheus."""

from wasmplex.metrics.families import Family, Kind, Samples, labelled, merged
from wasmplex.metrics.figures import BOUNDS, Calls, Figures, Timing
from wasmplex.metrics.process import of_build, of_process

__all__ = [
    "BOUNDS", "Calls", "Family", "Figures", "Kind", "Samples", "Timing", "labelled", "merged", "of_build",
    "of_process",
]  # fmt: skip
