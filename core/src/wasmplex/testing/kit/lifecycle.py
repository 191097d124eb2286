"""The part of every kit about opening, closing, declaring and secrets: the same whatever the capability."""

from __future__ import annotations

import gc
import re
import threading
from asyncio import all_tasks
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_origin

import pytest

from wasmplex.config.fields import parts_of
from wasmplex.errors import UsageError, nearest
from wasmplex.redaction import is_secret_type, secrets_in
from wasmplex.testing.kit.bench import Bench
from wasmplex.testing.kit.conformance import Conformance
from wasmplex.testing.kit.drivers import Driver, Refused

__all__ = ["LifecycleTests"]

_SECRET = re.compile(r"(?i)passw(or)?d|passphrase|secret|token|credential|api_?key|access_?key|private_?key$")


class LifecycleTests(Conformance):
    """What the host relies on, whatever a backend is for.

    A kit says how its backends are used: `bench_type`, `contract_driver`, `exercise`, `provoke`, `bind` and
    `undeclared`.

    :cvar bench_type: opens the backend
    :cvar contract_driver: the way straight through the Python contract
    """

    bench_type: ClassVar[type[Bench[Any]]]
    contract_driver: ClassVar[type[Driver[Any]]]

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        """Return no settings: the backend's defaults."""
        return {}

    @pytest.fixture
    async def bench(
        self, settings: Mapping[str, Any], driver_type: type[Driver[Any]], tmp_path: Path
    ) -> AsyncIterator[Bench[Any]]:
        """Open the backend, and close it when the test is done."""
        async with self.bench_type.open(self.provider, settings, driver_type, tmp_path) as bench:
            yield bench

    # ------------------------------------------------------------ said by the kit

    async def exercise(self, bench: Any) -> None:
        """Use an open backend a little: what makes it connect, write and read."""
        raise NotImplementedError

    async def provoke(self, bench: Any) -> Refused:
        """Do what any backend refuses, and return the refusal."""
        raise NotImplementedError

    async def bind(self, bench: Any) -> None:
        """Bind what the bench's driver needs, as a workload would."""
        raise NotImplementedError

    def undeclared(self, bench: Any) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        """Return by feature what to do with the bench that only backends with the feature may do.

        Each raises the capability's error for what a backend does not declare.
        """
        raise NotImplementedError

    # ------------------------------------------------------------ tests

    async def test_what_is_declared(self, bench: Bench[Any]) -> None:
        """A backend declares its features and the degree of its durability; both in known words."""
        assert self.provider.capability == self.capability
        unknown = sorted(self.provider.features - self.known_features)
        assert not unknown, f"there is no feature {unknown[0]!r}; {nearest(unknown[0], self.known_features)}"
        assert bench.features <= self.provider.features
        assert self.provider.durability

    async def test_what_is_not_declared_is_refused(self, bench: Bench[Any]) -> None:
        """A backend that cannot honour a line declares that unsupported; it is never served wrongly."""
        for feature, attempt in self.undeclared(bench).items():
            if feature not in bench.features:
                await attempt(bench)

    async def test_what_is_not_declared_is_not_bound(
        self, settings: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """A workload that needs what a backend does not declare is refused when it is bound."""
        for driver in self.drivers:
            if missing := driver.requires - self.provider.features:
                async with self.bench_type.open(self.provider, settings, driver, tmp_path) as bench:
                    with pytest.raises(UsageError) as error:
                        await self.bind(bench)
                assert all(feature in str(error.value) for feature in missing)

    async def test_closing_leaves_nothing_behind(self, settings: Mapping[str, Any], tmp_path: Path) -> None:
        """Closing leaves nothing behind: no connection, task, thread or file handle."""

        async def use() -> None:
            async with self.bench_type.open(self.provider, settings, self.contract_driver, tmp_path) as bench:
                await self.exercise(bench)

        await use()  # what is imported and started once stays
        before, threads = _held(), set(threading.enumerate())
        for _ in range(5):
            await use()
        for thread in set(threading.enumerate()) - threads:
            thread.join(1)  # it may be about to end
        after = _held()
        assert all(now <= then for now, then in zip(after, before, strict=True)), (
            f"tasks, threads and open files were {before} and are {after}"
        )

    async def test_errors_and_status_keep_secrets(
        self, bench: Bench[Any], settings: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """An error's text names the operation and the cause, never a secret or a path of the host."""
        error = await self.provoke(bench)
        model = self.provider.settings(**settings)
        for text in (str(error), repr(bench.backend), repr(model)):
            assert not [secret for secret in secrets_in(model) if secret in text]
        assert str(tmp_path) not in str(error)

    def test_what_a_name_calls_secret_has_a_secret_type(self) -> None:
        """What is shown of a setting is decided by its type: passwords, tokens and keys are ``SecretStr``.

        A choice between words is none of them.
        """
        fields = self.provider.settings.model_fields.items()
        secret = ((name, one.annotation) for name, one in fields if _SECRET.search(name))
        named = {name: parts_of(type_) for name, type_ in secret if get_origin(type_) is not Literal}
        plain = [name for name, types in named.items() if not any(map(is_secret_type, types))]
        assert not plain, f"declare {', '.join(plain)} as SecretStr"


def _held() -> tuple[int, int, int]:
    """Count the tasks, the threads and the open files of this process."""
    gc.collect()
    descriptors = Path("/proc/self/fd")
    files = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    return len(all_tasks()), threading.active_count(), files
