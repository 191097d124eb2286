"""Plain classes as WIT packages: what does not fit is said when the plugin is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from wasmplex.component.shape import InstanceType
from wasmplex.errors import PluginError
from wasmplex.plugin import ImportRequest, InterfaceProvider, WorkloadContext, hookimpl, wit_package
from wasmplex.plugins import Registry

WIT = """
package acme:geo@1.4.0;
interface lookup {
    find: async func(place: string, limit: u32) -> list<string>;
    from: func() -> string;
    resource cursor {
        constructor(at: u32);
        next-page: func() -> list<string>;
        open: static func(name: string) -> cursor;
    }
}
interface admin { forget: func(); }
"""


class Lookup:
    def __init__(self, request: ImportRequest) -> None:
        self.label = request.label
        self.closed = False

    async def find(self, place: str, limit: int = 1) -> list[str]:
        return [place] * limit

    def from_(self) -> str:
        return self.label or ""

    async def close(self) -> None:
        self.closed = True

    class Cursor:
        def __init__(self, at: int) -> None:
            self.at = at

        def next_page(self) -> list[str]:
            return [str(self.at)]

        @classmethod
        def open(cls, name: str) -> Any:
            return cls(len(name))


def load(**classes: Any) -> PluginError:
    """Return the error of a plugin that serves the package with these classes."""

    class Plugin:
        @hookimpl
        def wasmplex_interfaces(self) -> list[InterfaceProvider]:
            return [wit_package(WIT, classes)]

    with pytest.raises(PluginError) as caught:
        Registry(path=[], disable="").add(Plugin(), "geo")
    return caught.value


def test_a_missing_function_is_named() -> None:
    class Wrong(Lookup):
        find = None  # type: ignore[assignment]

        async def fnid(self, place: str, limit: int) -> list[str]:
            return []

    text = load(lookup=Wrong).render()
    assert "plugin geo (in process)" in text
    assert "Wrong has no method find (did you mean 'fnid'?) for acme:geo/lookup#find: async func(" in text
    assert "Wrong.fnid is no function of acme:geo/lookup; if it is for the class alone: _fnid" in text


@pytest.mark.parametrize("arguments", [(), ("a",), ("a", "b", "c")])
def test_a_wrong_arity_is_named(arguments: tuple[str, ...]) -> None:
    scope: dict[str, Any] = {}
    exec(f"def find(self, {', '.join(arguments)}): pass", scope)
    wrong = type("Wrong", (Lookup,), {"find": scope["find"]})
    text = load(lookup=wrong).render()
    assert "Wrong.find does not fit acme:geo/lookup#find" in text
    assert "it is called with (place, limit)" in text


def test_everything_is_said_at_once() -> None:
    class Wrong:
        async def find(self) -> None: ...

        class Cursor:
            next_page = None

    text = load(lookup=Wrong, amdin=Wrong).render()
    for part in ("Wrong.find does not fit", "no method from_", "Cursor.__init__ does not fit", "next_page",
                 "no method open", "no interface 'amdin' (did you mean 'admin'?)"):  # fmt: skip
        assert part in text


def test_a_resource_without_its_class() -> None:
    class Wrong:
        async def find(self, place: str, limit: int) -> None: ...
        def from_(self) -> None: ...

    assert "Wrong.Cursor is missing: the class of the resource cursor of acme:geo/lookup" in str(
        load(lookup=Wrong)
    )


def test_wit_that_is_wrong_or_not_there() -> None:
    for wit, part in ((Path("/no/geo.wit"), "geo.wit cannot be read"), ("package x", "no namespace")):
        with pytest.raises(Exception, match=part):
            wit_package(wit, {})


@pytest.mark.anyio
async def test_each_import_has_an_object_of_its_own() -> None:
    provider = wit_package(WIT, {"lookup": Lookup})
    registry = Registry(path=[], disable="")
    registry.add(provider)
    assert registry.interface("acme:geo", "1.0.0") is provider
    async with provider.bind(WorkloadContext("shop")) as bound:
        one, two = (
            bound.serve(ImportRequest("acme:geo/lookup@1.4.0", label, InstanceType())) for label in "ab"
        )
        assert one["from"]() == "a"  # type: ignore[operator]
        assert two["from"]() == "b"  # type: ignore[operator]
        assert await one["find"]("x", 2) == ["x", "x"]  # type: ignore[operator]
        cursor = one["[static]cursor.open"]("four")  # type: ignore[operator]
        assert one["[method]cursor.next-page"](cursor) == ["4"]  # type: ignore[operator]
        assert isinstance(one["[constructor]cursor"](1), Lookup.Cursor)  # type: ignore[operator]
        objects = [one["from"].__self__, two["from"].__self__]  # type: ignore[union-attr]
    assert all(served.closed for served in objects)


@pytest.mark.anyio
async def test_a_resource_is_made_knowing_its_import(tmp_path: Path) -> None:
    class Listing:
        class Page:
            def __init__(self, number: int, *, request: ImportRequest) -> None:
                self.number, self.request = number, request

            def text(self) -> str:
                return f"{self.request.label} {self.number} {self.request.base.name}"

    wit = (
        "package acme:pages@1.0.0;\n"
        "interface listing { resource page { constructor(n: u32); text: func() -> string; } }"
    )
    provider = wit_package(wit, {"listing": Listing})
    async with provider.bind(WorkloadContext("shop")) as bound:
        for label in ("one", "two"):
            request = ImportRequest("acme:pages/listing@1.0.0", label, InstanceType(), base=tmp_path)
            functions: Any = bound.serve(request)
            page = functions["[constructor]page"](3)
            assert functions["[method]page.text"](page) == f"{label} 3 {tmp_path.name}"


@pytest.mark.anyio
async def test_an_object_that_fails_to_close_does_not_keep_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = []

    class Admin:
        def forget(self) -> None: ...

        def close(self) -> None:
            closed.append(self)
            raise OSError("no")

    async with wit_package(WIT, {"admin": Admin}).bind(WorkloadContext("shop")) as bound:
        for _ in range(2):
            bound.serve(ImportRequest("acme:geo/admin@1.4.0", None, InstanceType()))
    assert len(closed) == 2
    assert "Admin failed to close: OSError: no" in caplog.text
