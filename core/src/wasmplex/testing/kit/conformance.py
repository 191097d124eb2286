"""What all conformance kits share: tests that cannot be dropped in silence, features, expected failures.

A kit is a class of tests that plugin authors subclass. A subclass says what it tests and may declare
`Conformance.expected_failures`, each with a reason; it may not redefine or remove a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

from wasmplex.errors import nearest
from wasmplex.plugins.backends import BackendProvider
from wasmplex.testing.loops import EVENT_LOOPS, EventLoop, everything

if TYPE_CHECKING:
    from wasmplex.testing.kit.bench import Bench
    from wasmplex.testing.kit.drivers import Driver

__all__ = ["Conformance", "expressible", "long", "needs"]

F = TypeVar("F", bound=Callable[..., Any])


def needs(*features: str) -> Callable[[F], F]:
    """Mark a test that is skipped unless the backend declares all of `features`."""

    def mark(test: F) -> F:
        test.needs = frozenset(features)  # type: ignore[attr-defined]
        return test

    return mark


def expressible(*words: str) -> Callable[[F], F]:
    """Mark a test that runs only with drivers whose interface has all of `words`; see `Driver.words`."""

    def mark(test: F) -> F:
        test.words = frozenset(words)  # type: ignore[attr-defined]
        return test

    return mark


def long(test: F) -> F:
    """Mark a test that runs on the first event loop alone, unless everything is asked for: it takes long."""
    test.long = True  # type: ignore[attr-defined]
    return test


class Conformance:
    """Base of the kits. What subclasses of a kit must have is said there.

    :cvar provider: the backend provider under test
    :cvar expected_failures: tests known to fail, each with the reason; one that passes is an error
    :cvar capability: what the kit is for; set by the kit
    :cvar known_features: what a backend of the capability may declare; set by the kit
    :cvar drivers: the ways in which the backend is reached
    :cvar spreads: whether each test goes through one of the guests among these, all of them in turn; through
        every one where everything is asked for
    """

    provider: ClassVar[BackendProvider[Any]]
    expected_failures: ClassVar[Mapping[str, str]] = {}
    capability: ClassVar[str] = ""
    known_features: ClassVar[frozenset[str]] = frozenset()
    drivers: ClassVar[tuple[type[Driver[Any]], ...]] = ()
    spreads: ClassVar[bool] = False

    _kit: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, kit: bool = False, **kwargs: Any) -> None:
        """Refuse a subclass that changes the kit; `kit` is True for the kit itself."""
        super().__init_subclass__(**kwargs)
        if kit:
            cls._kit = frozenset(name for name in dir(cls) if name.startswith("test_"))
            return
        for name in vars(cls):
            if cls._kit and (name in cls._kit or name in _GUARDED):
                raise TypeError(
                    f"{cls.__name__}.{name} replaces a part of the conformance kit. If the test cannot pass, "
                    f'write expected_failures = {{"{name}": "why"}}'
                )
        for name, reason in cls.expected_failures.items():
            if name not in cls._kit:
                raise TypeError(
                    f"{cls.__name__}.expected_failures: no test {name!r}; {nearest(name, cls._kit)}"
                )
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.expected_failures: {name} needs a reason")

    @pytest.fixture(scope="class")
    @classmethod
    def anyio_backend(cls, request: pytest.FixtureRequest) -> EventLoop:
        """Run on an event loop that the host runs on; a class that has its own fixture runs on that alone."""
        loop: EventLoop = getattr(request, "param", next(iter(EVENT_LOOPS.values())))
        return loop

    @classmethod
    def _loops(cls) -> Mapping[str, EventLoop]:
        """Return the loops to run on by their names; none if the class chooses one itself."""
        own = getattr_static(cls, "anyio_backend") is not vars(Conformance)["anyio_backend"]
        return {} if own else EVENT_LOOPS

    @pytest.fixture(autouse=True)
    def _declared(self, request: pytest.FixtureRequest) -> None:
        """Skip what the backend does not declare, and expect the failures that are."""
        test = request.function
        needed: frozenset[str] = getattr(test, "needs", frozenset())
        if missing := needed - self._features(request):
            pytest.skip(f"{self.provider.name} does not declare {', '.join(sorted(missing))}")
        if reason := self.expected_failures.get(test.__name__):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test with every driver that can say what it needs, and on every event loop.

        Guests are the same on all loops, so they run on the first alone unless everything is asked for; so do
        tests that are `long`.
        """
        loops = self._loops() if "anyio_backend" in metafunc.fixturenames else {}
        if "driver_type" not in metafunc.fixturenames:
            if loops:
                metafunc.parametrize("anyio_backend", list(loops.values()), ids=list(loops), indirect=True)
            return
        drivers = {d.__name__.removesuffix("Driver"): d for d in self._usable(metafunc.function)}
        if not loops:
            metafunc.parametrize("driver_type", list(drivers.values()), ids=list(drivers))
            return
        first, is_long = next(iter(loops)), getattr(metafunc.function, "long", False)
        runs = {
            f"{name}-{loop_name}": (driver, loop)
            for name, driver in drivers.items()
            for loop_name, loop in loops.items()
            if loop_name == first or not (driver.guest or is_long) or everything()
        }
        metafunc.parametrize(
            ("driver_type", "anyio_backend"), list(runs.values()), ids=list(runs), indirect=["anyio_backend"]
        )

    def _usable(self, test: Callable[..., Any]) -> list[type[Driver[Any]]]:
        """Return the drivers that can say what a test needs, and that the backend is enough for."""
        needed: frozenset[str] = getattr(test, "needs", frozenset())
        words: frozenset[str] = getattr(test, "words", frozenset())
        usable = [
            driver
            for driver in self.drivers
            if driver.requires <= self.provider.features
            and driver.features >= needed
            and driver.words >= words
        ]
        guests = [driver for driver in usable if driver.guest]
        if not guests or not self.spreads or everything():
            return usable
        turn = sorted(self._kit).index(test.__name__) % len(guests)
        return [driver for driver in usable if not driver.guest or driver is guests[turn]]

    def _features(self, request: pytest.FixtureRequest) -> frozenset[str]:
        """Return the features that the test may use: declared, and reachable by its driver."""
        features = self.provider.features
        if "driver_type" not in request.fixturenames:
            return features
        if "bench" in request.fixturenames:
            bench: Bench[Any] = request.getfixturevalue("bench")
            features = bench.features
        driver: type[Driver[Any]] = request.getfixturevalue("driver_type")
        return features & driver.features

    def test_the_kit_is_whole(self) -> None:
        """Every test of the kit is there: none was deleted from it, none replaced by something else."""
        gone = [name for name in self._kit if not callable(getattr(type(self), name, None))]
        assert not gone, f"the kit lacks {', '.join(sorted(gone))}"


_GUARDED = {
    "_declared", "_features", "_kit", "_loops", "_usable", "__init_subclass__", "__test__", "capability",
    "known_features", "pytest_generate_tests",
}  # fmt: skip
