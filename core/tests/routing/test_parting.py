"""A binding that has a backend for each bucket."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasmplex.component.shape import Import
from wasmplex.errors import RoutingError

from .worlds import ATOMICS, BATCH, KV, STORE, Opened, labelled, resource, route, shape, taking, unlabelled

BINDING = f'[workload.shop.default."{KV}"]\n'
REDIS = '{ backend = "redis", url = "redis://u:hunter2@h" }'
TWO = f'{BINDING}timeout = 2\nbuckets = {{ cache = "memory", store = {REDIS} }}\n'


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(RoutingError) as caught:
        route(folder, text, shape(unlabelled()))
    return caught.value.render()


def test_each_bucket_has_a_backend_of_its_own(tmp_path: Path) -> None:
    found = route(tmp_path, TWO, shape(unlabelled()))
    (only,) = found.routes
    assert only.backend is None
    assert {name: part.backend.provider.name for name, part in only.parts.items()} == {
        "cache": "memory",
        "store": "redis",
    }
    assert [backend.selector for backend in found.backends] == ["memory", "redis"]
    assert [row.served_by for row in found.rows()] == ["backend memory for cache", "backend redis for store"]
    assert "hunter2" not in repr(found) + str(found.rows())


def test_a_bucket_has_what_the_binding_says_unless_it_says_so_itself(tmp_path: Path) -> None:
    own = '{ backend = "redis", url = "redis://h", timeout = 9, namespace = "own" }'
    text = f'{BINDING}timeout = 2\nnamespace = "all"\nbuckets = {{ a = "memory", b = {own} }}\n'
    (only,) = route(tmp_path, text, shape(unlabelled())).routes
    request = only.request({id(backend): Opened() for backend in only.backends})
    assert request.backend is None
    settings = {name: one.settings.model_dump()["timeout"] for name, one in request.of_parts().items()}
    assert settings == {"a": 2, "b": 9}
    assert {name: one.namespace for name, one in request.of_parts().items()} == {"a": "all", "b": "own"}
    assert only.parts["b"].backend.settings.model_dump()["timeout"] == 9


def test_it_is_had_by_a_label_too(tmp_path: Path) -> None:
    text = '[workload.shop.import.kv.buckets]\na = "memory"\nb = { backend = { env = "B" } }\n'
    (only,) = route(tmp_path, text, shape(labelled("kv")), {"B": "memory"}).routes
    assert {part.namespace for part in only.parts.values()} == {"shop/kv"}


def test_every_backend_has_to_do_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(RoutingError) as caught:
        route(tmp_path, TWO, shape(unlabelled(), Import(ATOMICS, taking(resource(50)))))
    assert "backend 'redis' does not support increment" in caught.value.render()
    assert "backend 'memory'" not in caught.value.render()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('backend = "memory"\nbuckets = { a = "memory" }', "names a backend for everything, and buckets one"),
        ("buckets = {}", "buckets is empty"),
        ("buckets = { a = {} }", "buckets.a names no backend"),
        ("buckets = { a = 3 }", "buckets.a names no backend"),
        ('buckets = { a = "memroy" }', "did you mean 'memory'?"),
        ('buckets = { a = { backend = "memory", buckets = ["x"] } }', 'unknown key "buckets"'),
        ('buckets = { a = { backend = "redis" } }', 'the key "url" is missing'),
        ('buckets = { a = { backend = "redis", url = "x", tiemout = 1 } }', "did you mean 'timeout'?"),
        ('buckets = { a = "memory" }\ntiemout = 3', "did you mean 'timeout'?"),
        ("buckets = { a = { backend = { env = 'B' } } }", "the environment variable B is not set"),
    ],
)
def test_what_is_wrong_is_one_message_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    said = refusal(tmp_path, BINDING + text)
    assert said.count("error:") == 1, said
    assert words in said, said
    assert "host.toml:4" in said or "host.toml:5" in said, said


def test_what_a_binding_does_not_grant_has_one_remedy(tmp_path: Path) -> None:
    """Two of them would undo each other."""
    text = f'{BINDING}backend = "memory"\ninterfaces = ["store"]\n'
    bucket = resource(50)
    with pytest.raises(RoutingError) as caught:
        route(
            tmp_path,
            text,
            shape(unlabelled(), Import(ATOMICS, taking(bucket)), Import(BATCH, taking(bucket))),
        )
    (said,) = caught.value.diagnostics
    assert said.what.startswith("the binding does not grant atomics, batch, which the component imports (")
    assert said.fix == 'interfaces = ["atomics", "batch", "store"]'


def test_a_store_has_no_other_names(tmp_path: Path) -> None:
    (only,) = route(tmp_path, TWO, shape(unlabelled())).routes
    assert only.import_.name == STORE
    assert only.behind("cache")[0] is only.parts["cache"].backend
    assert only.behind("nothing") == (None, f"shop/{KV}")
