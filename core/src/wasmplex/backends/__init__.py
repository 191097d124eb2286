"""Open backends, shared by the bindings that ask for the same thing."""

from __future__ import annotations

from wasmplex.backends.pool import BackendPool
from wasmplex.backends.statistics import PoolStatistics, ProviderStatistics

__all__ = ["BackendPool", "PoolStatistics", "ProviderStatistics"]
