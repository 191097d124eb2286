"""WIT text, as far as serving it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasmplex.wit.source import WitSyntaxError, parse

WIT = Path(__file__).parents[3] / "wit"

GEO = """
/* a package */
package acme:geo@1.2.0-rc.1;

use other:package/iface@1.0.0;

@since(version = 1.0.0)
interface lookup {
    use types.{place, %record as line};   // names of another interface
    type id = u64;
    record position { latitude: f64, name: option<tuple<string, u8>> }
    variant shape { circle(f64), nothing }
    enum kind { a, b }
    resource handle;
    resource cursor {
        constructor(at: id);
        @unstable(feature = x)
        next: func() -> result<list<position>, string>;
        open-all: static async func(%type: string, ids: list<id>,) -> cursor;
    }
    find: async func(place: place) -> stream<u8>;
    forget: func();
}

interface empty {}

world w { import lookup; export run: func(); include other; }
"""


def test_functions_by_their_full_names() -> None:
    package = parse(GEO)
    assert (package.name, package.version) == ("acme:geo", "1.2.0-rc.1")
    assert package.interfaces.keys() == {"lookup", "empty"}
    lookup = package.interfaces["lookup"]
    assert lookup.resources == ("handle", "cursor")
    assert [str(function) for function in lookup.functions.values()] == [
        "[constructor]cursor: func(at: id)",
        "[method]cursor.next: func() -> result<list<position>, string>",
        "[static]cursor.open-all: async func(type: string, ids: list<id>) -> cursor",
        "find: async func(place: place) -> stream<u8>",
        "forget: func()",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: the text does not begin with 'package"),
        ("interface a {}", "line 1: the text does not begin with 'package"),
        ("package a;", "line 1: the package 'a' has no namespace"),
        ("package a:b\ninterface c {}", "line 2: ';' is missing before 'interface'"),
        ("package a:b@1.x;", "line 1"),
        ("package a:b;\ninterface c {\n  f: fun();\n}", "line 3: 'func' is missing before 'fun'"),
        ("package a:b;\ninterface c {\n  f: func(x u8);\n}", "line 3: ':' is missing before 'u8'"),
        ("package a:b;\ninterface c {\n  f: func(x: );\n}", "line 3: a type is missing before ')'"),
        ("package a:b;\ninterface c {", "the text ends too early"),
        ("package a:b;\ninterface c { recrod d {} }", "'recrod' begins nothing"),
        ("package a:b;\n$", "line 2: '$' has no place in WIT"),
        ("package a:b;\nfunc x;", "neither an interface nor a world"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(WitSyntaxError) as caught:
        parse(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize("file", sorted(WIT.rglob("*.wit")), ids=lambda file: str(file.relative_to(WIT)))
def test_packages_that_people_publish(file: Path) -> None:
    package = parse(file.read_text())
    assert package.interfaces
