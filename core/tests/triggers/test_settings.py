"""The settings of the trigger, and the routing table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from wasmplex.errors import ConfigError
from wasmplex.triggers.http import HttpSettings, RouteSettings
from wasmplex.triggers.http.routing import Route, Router


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8080", "127.0.0.1", 8080), ("[::1]:0", "::1", 0), ("localhost:65535", "localhost", 65535)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    listen = HttpSettings.model_validate({"listen": text}).listen
    assert (listen.host, listen.port) == (host, port)
    assert str(listen) == text


@pytest.mark.parametrize(
    "text", ["8080", ":80", "::1:80", "a:b", "a:65536", "a:-1", "", "http://a", 80, None]
)
def test_what_is_no_address(text: Any) -> None:
    with pytest.raises(ValidationError, match="not an address"):
        HttpSettings.model_validate({"listen": text})


def test_routes_are_normalized() -> None:
    route = RouteSettings(path="/api/", host="*.Example.com.")
    assert (route.path, route.host) == ("/api", "*.example.com")
    assert RouteSettings(path="//").path == "/"


@pytest.mark.parametrize("values", [
    {"path": "api"}, {"path": ""}, {"path": "/a?b"}, {"path": "/a*"}, {"host": "a b"}, {"host": "a:80"},
    {"host": "*"}, {"host": "a.*.b"}, {"pth": "/"}, {"host": ""},
])  # fmt: skip
def test_what_is_no_route(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RouteSettings(**values)


def test_all_clashes_are_reported() -> None:
    routes = [Route(None, "/", n, n) for n in "abc"]
    with pytest.raises(ConfigError) as error:
        Router(routes)
    assert len(error.value.diagnostics) == 2


segments = st.sampled_from(["a", "b", "ab"])
paths = st.lists(segments, max_size=3).map(lambda parts: "/" + "/".join(parts))
hosts = st.sampled_from([None, "x.y", "*.y", "*.x.y"])


@given(st.sets(st.tuples(hosts, paths)), st.sampled_from(["x.y", "a.x.y", "b.a.x.y", "z.y", "q"]), paths)
def test_the_most_specific_route_wins(entries: set[tuple[str | None, str]], host: str, path: str) -> None:
    router = Router([Route(h, p, (h, p)) for h, p in entries])

    def fits(entry: tuple[str | None, str]) -> bool:
        h, p = entry
        host_fits = h is None or h == host or (h.startswith("*") and host.endswith(h[1:]) and h[1:] != host)
        return host_fits and (p == "/" or f"{path}/".startswith(f"{p}/"))

    def rank(entry: tuple[str | None, str]) -> tuple[bool, bool, int, int]:
        h, p = entry
        return h is not None, h == host, len(h or ""), len(p)

    assert router.find(host, path) == max(filter(fits, entries), key=rank, default=None)
