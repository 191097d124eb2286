"""Memories that are kept: whatever was done to one, the next instance finds what the component says."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from typing import Any

import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.component import read
from wasmplex.component.images import MemoryImage
from wasmplex.engine import Engine, Instance, Linked, images, pages
from wasmplex.engine.accounts import Account, MemoryBudget
from wasmplex.engine.ahead import Ahead
from wasmplex.engine.images import KEPT, KEPT_FEW, Image
from wasmplex.engine.memory import RAW, U8
from wasmplex.engine.pages import PAGE
from wasmplex.errors import ComponentError, LimitExceeded
from wasmplex.plugins.limits import Limits
from wasmtime import wat2wasm

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not images.possible(), reason="this system does not tell which pages were written to"),
]

WASM_PAGE = 1 << 16
SIZE, CAPACITY = 20 * PAGE, 64 * PAGE
ENOUGH = Account(MemoryBudget().tenant(), 2**40)
CONTENT = bytes(at * 7 % 251 for at in range(SIZE - 3 * PAGE))
WHOLE = CONTENT.ljust(SIZE, b"\0")


@pytest.fixture(scope="module")
def image() -> Image:
    """Return an image that ends before the memory does."""
    return Image(MemoryImage(CAPACITY, SIZE, ((0, CONTENT[:5000]), (5000, CONTENT[5000:]))))


def content(base: int, size: int) -> bytes:
    data: bytes = RAW[base : base + size]
    return data


writes = st.lists(st.tuples(st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=2 * PAGE)), max_size=8)


@given(writes, st.lists(st.integers(0, SIZE - 1)), st.booleans(), st.integers(0, 4))
@settings(max_examples=200)
def test_a_kept_memory_is_as_new(
    image: Image, writes: list[tuple[int, bytes]], reads: list[int], reading_first: bool, grown: int
) -> None:
    memory = image.memory(ENOUGH, CAPACITY, PAGE)
    base = memory.base
    assert content(base, SIZE) == WHOLE if reading_first else True
    memory.grow(SIZE + grown * PAGE)
    for at, data in [*writes, (memory.size - 1, b"!")]:
        memory.write(at, data[: memory.size - at])
    assert sum(U8[base + at] for at in reads) >= 0
    memory.unmap()
    again = image.memory(ENOUGH, CAPACITY, PAGE)
    assert again.base == base
    assert again.read(0, SIZE) == WHOLE
    again.grow(CAPACITY)
    assert again.read(SIZE, CAPACITY - SIZE) == bytes(CAPACITY - SIZE)
    again.unmap()


@pytest.mark.parametrize("way", ["too many pages", "no copying", "no page map"])
def test_without_means_a_kept_memory_is_as_new_all_the_same(
    image: Image, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match way:
        case "too many pages":
            monkeypatch.setattr(images, "_RESIDENT", PAGE)
        case "no copying":
            monkeypatch.setattr(pages, "copy", lambda *args: -1)
        case "no page map":
            monkeypatch.setattr(images, "_own_pages", lambda *args: b"")
    for _ in range(3):
        memory = image.memory(ENOUGH, CAPACITY, PAGE)
        assert memory.read(0, SIZE) == WHOLE
        memory.write(0, b"!" * SIZE)
        memory.unmap()


def test_only_what_was_written_to_is_copied(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[Any] = []
    copy = pages.copy

    def watched(*args: Any) -> Any:
        copied.append(copy(*args))
        return copied[-1]

    monkeypatch.setattr(pages, "copy", watched)
    image.give(*new(image), SIZE)
    base, mapped = new(image)
    assert content(base, SIZE) == WHOLE
    for at in (0, 4 * PAGE, 5 * PAGE - 1, 5 * PAGE):
        U8[base + at] = 1
    image.give(base, mapped, SIZE)
    assert copied == [0, 3 * PAGE]


def new(image: Image) -> tuple[int, int]:
    """Return a memory that nobody has had before."""
    while image.kept:
        pages.release(*image._free.pop())
    return image.take(CAPACITY), CAPACITY


def test_after_a_fork_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page map is the other process's, and so would be what is copied."""
    image = Image(MemoryImage(CAPACITY, SIZE, ((0, CONTENT),)))
    memory = image.memory(ENOUGH, CAPACITY, PAGE)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    memory.unmap()
    assert image.kept == 0


def test_an_image_leaves_nothing_behind() -> None:
    gc.collect()
    before = opened()
    image = Image(MemoryImage(CAPACITY, SIZE, ((0, CONTENT),)))
    memories = [image.memory(ENOUGH, CAPACITY, PAGE) for _ in range(KEPT + 3)]
    for memory in memories:
        memory.unmap()
    assert image.kept == KEPT
    assert opened() != before
    del image, memories, memory
    gc.collect()
    assert opened() == before


def opened() -> tuple[int, int]:
    """Return how many files are open, and how often the image's is mapped."""
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        mapped = sum("wasmplex-image" in line for line in maps)
    return len(os.listdir("/proc/self/fd")), mapped  # noqa: PTH208


@pytest.mark.parametrize("missing", ["/proc/self/pagemap", "memfd_create", "process_vm_readv", "wrong"])
async def test_where_it_is_impossible_instances_are_ordinary(
    missing: str, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    match missing:
        case "memfd_create":
            monkeypatch.delattr(os, missing)
        case "process_vm_readv":
            monkeypatch.setattr(pages, "copy", lambda *args: -1)
        case "wrong":  # a system that shows no page as written to
            monkeypatch.setattr(images, "_own_pages", lambda pagemap, base, size: bytes(size // PAGE))
        case _:
            monkeypatch.setattr(images, "_PAGEMAP", "/nowhere")
    images.possible.cache_clear()
    try:
        assert images.possible() == (missing == "process_vm_readv")  # pages can still be given back
        compiled = (await linked(engine)).compiled
        assert bool(compiled.image_size) == images.possible()
    finally:
        images.possible.cache_clear()


# ---------------------------------------------------------------- guests

GUEST = f"""(component
  (core module $m
    (memory (export "memory") 5)
    (data (i32.const 0) "{"abcdefgh" * (WASM_PAGE // 4)}")
    (data (i32.const 70000) "{"x" * 1000}")
    (func (export "sum") (result i64) (local $at i32) (local $sum i64)
      (loop $next
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const {WASM_PAGE})))))
      (local.get $sum))
    (func (export "spoil") (param $at i32) (param $count i32) (param $grow i32)
      (memory.fill (local.get $at) (i32.const 255) (local.get $count))
      (drop (memory.grow (local.get $grow)))
      (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const {WASM_PAGE})) (i32.const 1)) (i32.const 9))))
  (core instance $i (instantiate $m))
  (func (export "sum") (result u64) (canon lift (core func $i "sum")))
  (func (export "spoil") (param "at" u32) (param "count" u32) (param "grow" u32)
    (canon lift (core func $i "spoil"))))"""


async def linked(engine: Engine, *, keep: bool = True, limits: Limits | None = None) -> Linked:
    wasm = bytes(wat2wasm(GUEST))
    return engine.link(await engine.compile(wasm, read(wasm), often=keep), {}, "shop", limits)


async def copied(engine: Engine, text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return what the guest sees in a memory without an image."""
    with monkeypatch.context() as without:
        without.setattr(images, "possible", lambda: False)
        wasm = bytes(wat2wasm(text))
        ordinary = await engine.link(await engine.compile(wasm, read(wasm)), {}, "shop").instantiate()
    assert ordinary._linked.compiled.image_size == 0
    found: int = await ordinary.call("sum")
    ordinary.close()
    return found


async def test_instances_find_what_the_component_says(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await copied(engine, GUEST, monkeypatch)
    shop = await linked(engine)
    assert shop.compiled.image_size == 5 * WASM_PAGE
    for spoilt in [(0, 1, 0), (5 * WASM_PAGE - 9, 9, 0), (70_000, 1000, 3), (0, 5 * WASM_PAGE, 1)] * 5:
        instance = await shop.instantiate()
        assert await instance.call("sum") == expected
        await instance.call("spoil", *spoilt)
        assert await instance.call("sum") != expected
        instance.close()


@pytest.mark.parametrize(("often", "kept"), [(True, KEPT), (False, KEPT_FEW)])
async def test_many_instances_at_a_time(engine: Engine, often: bool, kept: int) -> None:
    shop = await linked(engine, keep=often)
    creator = shop.compiled.variant.creator
    for _ in range(2):
        alive: list[Instance] = [await shop.instantiate() for _ in range(KEPT + 5)]
        sums = set()
        for number, instance in enumerate(alive):
            sums.add(await instance.call("sum"))
            await instance.call("spoil", number, 1000, 0)
        assert len(sums) == 1
        for instance in alive:
            instance.close()
        assert creator.live == 0
    assert [image.kept for image in creator._images.values()] == [kept]


async def test_limits_hold_for_kept_memories(engine: Engine) -> None:
    with pytest.raises(LimitExceeded):
        await (await linked(engine, limits=Limits(memory=4 * WASM_PAGE))).instantiate()
    instance = await (await linked(engine, limits=Limits(memory=6 * WASM_PAGE))).instantiate()
    await instance.call("spoil", 0, 1, 9)
    assert instance.memories[0].size == 5 * WASM_PAGE
    instance.close()


async def test_components_that_differ_in_their_data_alone_are_two(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = (GUEST, GUEST.replace("abcdefgh", "ABCDEFGH"))
    made: dict[bool, list[Any]] = {False: [], True: []}
    for text in texts:
        wasm = bytes(wat2wasm(text))
        for often, those in made.items():
            compiled = await engine.compile(wasm, read(wasm), often=often)
            instance = await engine.link(compiled, {}, "shop").instantiate()
            those.append((await instance.call("sum"), compiled, instance))
    expected = [await copied(engine, text, monkeypatch) for text in texts]
    for those in made.values():
        assert [found for found, *_ in those] == expected
        for *_, instance in those:
            instance.close()
    assert expected[0] != expected[1]


async def test_a_component_that_cannot_be_compiled_leaves_no_engine_behind(engine: Engine) -> None:
    wasm = bytes(wat2wasm(GUEST.replace("(local.get $sum))", "(local.get $at))", 1)))
    shape = read(wasm)
    gc.collect()
    before = opened(), len(engine.services.ticker._engines)
    failed = 0
    for _ in range(3):
        try:  # pytest would keep the traceback, and all that is in its frames
            await engine.compile(wasm, shape, often=True)
        except ComponentError:
            failed += 1
    assert failed == 3
    await anyio.to_thread.run_sync(
        int
    )  # the thread remembers what it has raised until it has something to do
    for _ in range(3):
        gc.collect()
    assert (opened(), len(engine.services.ticker._engines)) == before


async def test_without_files_for_images_instances_are_ordinary(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str, flags: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", none)
    shop = await linked(engine)
    assert shop.compiled.image_size == 0
    instance = await shop.instantiate()
    await instance.call("sum")
    instance.close()


def test_pages_that_were_opened_and_not_counted_are_closed_again(image: Image) -> None:
    """As after Ctrl-C between the two."""
    memory = image.memory(ENOUGH, CAPACITY, PAGE)
    base = memory.base
    with pytest.MonkeyPatch.context() as patch:
        permit = pages.permit

        def interrupted(at: int, size: int) -> None:
            permit(at, size)
            raise KeyboardInterrupt

        patch.setattr(pages, "permit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            memory.grow(SIZE + PAGE)
    U8[base + SIZE] = 7
    memory.unmap()
    again = image.memory(ENOUGH, CAPACITY, PAGE)
    assert again.base == base
    again.grow(SIZE + PAGE)
    assert again.read(SIZE, PAGE) == bytes(PAGE)
    again.unmap()


async def test_what_the_worker_has_to_end_outlives_its_component(engine: Engine) -> None:
    shop: Any = await linked(engine)
    maker: Any = Ahead(shop, engine.services.worker)
    instance: Any = await maker.make()
    [image] = shop.compiled.variant.creator._images.values()
    go_on = threading.Event()
    engine.services.worker.submit(go_on.wait, 20)
    instance.close()
    gone = weakref.ref(image)
    del shop, maker, instance, image
    for _ in range(3):
        gc.collect()
    assert gone() is not None
    go_on.set()
    engine.services.worker.close()
    for _ in range(3):
        gc.collect()
    assert gone() is None


async def test_an_engine_for_one_component_ends_with_it(engine: Engine) -> None:
    before = len(engine.services.ticker._engines)
    shop: Any = await linked(engine)
    again = await linked(engine)
    assert again.compiled is shop.compiled
    assert len(engine.services.ticker._engines) == before + 1
    del shop, again
    gc.collect()
    assert len(engine.services.ticker._engines) == before


async def test_memories_that_another_thread_makes_are_its_instances(engine: Engine) -> None:
    shop = await linked(engine)
    first = await shop.instantiate()
    coming = shop.prepare().begin()

    def run() -> None:
        while not coming.poll(coming.future):
            pass

    await anyio.to_thread.run_sync(run)
    second = coming.finish()
    assert [len(first.memories), len(second.memories)] == [1, 1]
    assert first.memories[0] is not second.memories[0]
    first.close()
    second.close()


def test_the_page_size_is_what_python_says() -> None:
    assert os.sysconf("SC_PAGE_SIZE") == PAGE
    assert sys.byteorder == "little"  # the highest byte of an entry of the page map is the last
