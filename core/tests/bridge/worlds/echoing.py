"""Calls the guests of `echoes` with random values, and looks whether what went in came out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import anyio
from wasmplex.bridge import BridgedInstance
from wasmplex.bridge.kinds import ends, mentioned
from wasmplex.component.shape import NamedType
from wasmplex.engine import Instance
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.types import (
    Borrow,
    Enum,
    Flags,
    FuncType,
    FutureType,
    ListType,
    MapType,
    Option,
    Own,
    Primitive,
    Record,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
    VariantType,
)

from .echoes import BACK, ECHO, OWN, TYPES, Echo

__all__ = ["Echoing", "Thing"]

_RANGES = {"s8": (-(2**7), 2**7 - 1), "u8": (0, 2**8 - 1), "s16": (-(2**15), 2**15 - 1),
           "u16": (0, 2**16 - 1), "s32": (-(2**31), 2**31 - 1), "u32": (0, 2**32 - 1),
           "s64": (-(2**63), 2**63 - 1), "u64": (0, 2**64 - 1)}  # fmt: skip


class Thing:
    """The host's resource."""

    def __init__(self) -> None:
        self.dropped = 0

    def drop(self) -> None:
        self.dropped += 1


class Pair:
    """A value to give, and what is to come back of it."""

    def __init__(self, give: Any, want: Any) -> None:
        self.give, self.want = give, want


class Echoing:
    """An instance of an echo, with the functions that serve it.

    :param waits: whether the Python of functions waits
    """

    def __init__(self, echo: Echo, seed: int, *, waits: bool) -> None:
        self.echo, self.random, self.waits = echo, Random(seed), waits
        self.things: list[Thing] = []
        self.returned: list[tuple[Any, int]] = []
        self.instance: BridgedInstance | Instance

    # ------------------------------------------------------------ what the guest imports

    def imports(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Return the functions that the guest imports."""
        [types] = [e.type for e in self.echo.shape.exports if e.name == BACK]
        functions = {
            name: self._serving(name, type_)
            for name, type_ in types.functions.items()  # type: ignore[union-attr]
        }
        thing = {"[constructor]thing": lambda n: Thing(), "[method]thing.number": lambda t: 0}
        return {ECHO: functions, TYPES: thing}

    def _serving(self, name: str, type_: FuncType) -> Callable[..., Any]:
        if name == "lend":
            return lambda *things: sum(isinstance(thing, Thing) for thing in things)
        fallible = isinstance(type_.result, ResultType)

        def plain(value: Any) -> Any:
            if fallible:
                if isinstance(value, Err):
                    raise value
                return value.value
            return value

        async def waiting(value: Any) -> Any:
            if self.waits:
                await asyncio.sleep(0)
            return plain(value)

        return waiting if self.waits or type_.is_async else plain

    # ------------------------------------------------------------ calling

    async def check(self) -> None:
        """Call every function."""
        for export in self.echo.shape.exports:
            for name, type_ in export.type.functions.items():  # type: ignore[union-attr]
                path = f"{export.name}#{name}"
                if name.startswith("[") or _out_of_reach(type_):
                    continue
                with anyio.fail_after(15):
                    if name == "lend":
                        things = [self._thing() for _ in type_.params]
                        assert await self.instance.call(path, *things) == len(things)
                    else:
                        await self._echoed(path, type_)
                table = self.instance.objects
                assert len(table) == 0, path
        for thing in self.things:
            assert thing.dropped == 0

    async def _echoed(self, path: str, type_: FuncType) -> None:
        pair = await self._value(type_.params[0].type)
        pads = [0] * (len(type_.params) - 1)
        try:
            result = await self.instance.call(path, pair.give, *pads)
            if isinstance(type_.result, ResultType):
                result = Ok(result)
        except Err as error:
            result = error
        await self._same(type_.params[0].type, result, pair.want)
        while self.returned:
            mine, number = self.returned.pop()
            assert await self.instance.call(f"{OWN}#[method]mine.number", mine) == number
            await mine.drop()

    def _thing(self) -> Thing:
        self.things.append(Thing())
        return self.things[-1]

    # ------------------------------------------------------------ values

    async def _value(self, type_: ValueType | None) -> Pair:  # noqa: C901  one case a type
        draw = self.random
        match type_:
            case None:
                return Pair(None, None)
            case Primitive(name):
                return self._primitive(name)
            case Enum(names):
                case = draw.choice(names)
                return Pair(case, case)
            case Flags(names):
                some = frozenset(draw.sample(names, draw.randint(0, len(names))))
                return Pair(some, some)
            case ListType(Primitive("u8")):
                data = draw.randbytes(draw.choice([0, 1, 7, 300]))
                return Pair(data, data)
            case ListType(element):
                return _pairs([await self._value(element) for _ in range(draw.randint(0, 3))], list)
            case Option(element):
                if draw.random() < 0.4:
                    return Pair(None, None)
                some_ = await self._value(element)
                return Pair(Some(some_.give), Some(some_.want)) if isinstance(element, Option) else some_
            case ResultType(ok, err):
                case_, inner = draw.choice([(Ok, ok), (Err, err)])
                pair = await self._value(inner)
                return Pair(case_(pair.give), case_(pair.want))
            case TupleType(elements):
                return _pairs([await self._value(element) for element in elements], tuple)
            case Record(fields):
                pairs = {f.name: await self._value(f.type) for f in fields}
                return Pair({n: p.give for n, p in pairs.items()}, {n: p.want for n, p in pairs.items()})
            case VariantType(cases):
                one = draw.choice(cases)
                pair = await self._value(one.type)
                return Pair(Variant(one.name, pair.give), Variant(one.name, pair.want))
            case MapType(key, value):
                keys = {(await self._value(key)).give for _ in range(draw.randint(0, 3))}
                pairs = {one: await self._value(value) for one in sorted(keys)}
                return Pair({k: p.give for k, p in pairs.items()}, {k: p.want for k, p in pairs.items()})
            case Own(resource):
                return await self._resource(imported=resource.imported)
            case StreamType(element):
                return await self._stream(element)
            case FutureType(element):
                return await self._future(element)
        raise AssertionError(type_)

    def _primitive(self, name: str) -> Pair:
        draw = self.random
        value: Any
        if name in _RANGES:
            low, high = _RANGES[name]
            value = draw.choice([low, high, draw.randint(low, high)])
        else:
            value = {
                "bool": draw.random() < 0.5, "f32": draw.randint(-1000, 1000) / 8, "f64": draw.random(),
                "char": draw.choice("aé語\U0001f600"), "string": draw.choice(["", "héllo", "x" * 100]),
            }[name]  # fmt: skip
        return Pair(value, value)

    async def _resource(self, *, imported: bool) -> Pair:
        if imported:
            thing = self._thing()
            return Pair(thing, thing)
        number = self.random.randint(0, 1000)
        return Pair(await self.instance.call(f"{OWN}#[constructor]mine", number), ("mine", number))

    async def _stream(self, element: ValueType | None) -> Pair:
        if element == Primitive("u8"):
            chunks = [self.random.randbytes(n) for n in (1, 100)]
            return Pair(_chunks(chunks), b"".join(chunks))
        pairs = [await self._value(element) for _ in range(self.random.randint(0, 3))]
        return Pair(_chunks([[pair.give for pair in pairs]] if pairs else []), [pair.want for pair in pairs])

    async def _future(self, element: ValueType | None) -> Pair:
        pair = await self._value(element)

        async def later() -> Any:
            await asyncio.sleep(0)
            if isinstance(element, ResultType):
                if isinstance(pair.give, Err):
                    raise pair.give
                return pair.give.value
            return pair.give

        return Pair(later(), pair.want)

    # ------------------------------------------------------------ comparing

    async def _same(  # noqa: C901  one case a type
        self, type_: ValueType | None, value: Any, want: Any
    ) -> None:
        match type_:
            case ListType(Primitive("u8")):
                assert value == want
            case ListType(element):
                for one, other in zip(value, want, strict=True):
                    await self._same(element, one, other)
            case Option(element) if value is None or want is None:
                assert value is want
            case Option(Option() as element):
                await self._same(element, value.value, want.value)
            case Option(element):
                await self._same(element, value, want)
            case ResultType(ok, err):
                assert type(value) is type(want)
                await self._same(ok if isinstance(value, Ok) else err, value.value, want.value)
            case TupleType(elements):
                for part, one, other in zip(elements, value, want, strict=True):
                    await self._same(part, one, other)
            case Record(fields):
                for field in fields:
                    await self._same(field.type, value[field.name], want[field.name])
            case VariantType(cases):
                assert value.tag == want.tag
                [payload] = [case.type for case in cases if case.name == value.tag]
                await self._same(payload, value.value, want.value)
            case Own(resource) if resource.imported:
                assert value is want
            case Own():
                self.returned.append((value, want[1]))  # asked when all that came with it has ended
            case StreamType(Primitive("u8")):
                assert b"".join([bytes(chunk) async for chunk in value]) == want
            case StreamType(element):
                got = [one async for chunk in value for one in chunk]
                for one, other in zip(got, want, strict=True):
                    await self._same(element, one, other)
            case FutureType(ResultType(ok, err)):
                try:
                    given = await value
                except Err as error:
                    await self._same(err, error.value, want.value)
                else:
                    assert isinstance(want, Ok)
                    await self._same(ok, given, want.value)
            case FutureType(element):
                await self._same(element, await value, want)
            case MapType(_, element):
                assert list(value) == list(want)
                for key, one in value.items():
                    await self._same(element, one, want[key])
            case Borrow():
                raise AssertionError(type_)
            case _:
                assert value == want


def _out_of_reach(type_: FuncType) -> bool:
    """Say whether a function is given streams of the guest's resources: those cannot come home unread."""
    parts = ends(param.type for param in type_.params)
    return any(not r.imported for end in parts for r in mentioned(NamedType(end)))


def _pairs(pairs: list[Pair], kind: Any) -> Pair:
    return Pair(kind(pair.give for pair in pairs), kind(pair.want for pair in pairs))


async def _chunks(chunks: list[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk
