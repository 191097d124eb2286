"""Routing: which binding, backend and plugin serve each import of a component. Pure: it opens nothing."""

from __future__ import annotations

from wasmplex.routing.plan import BackendRoute, Plan, Route, RouteKind, RouteRow, TriggerRoute
from wasmplex.routing.planning import plan

__all__ = ["BackendRoute", "Plan", "Route", "RouteKind", "RouteRow", "TriggerRoute", "plan"]
