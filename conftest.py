"""What holds for all tests of the repository."""

import fcntl
import gc
import logging
import os
from collections.abc import Generator, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent
PLUGINS = [f"host_plugin_{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")]
WATCHED = ["wasmplex", *(name for name in PLUGINS if find_spec(name) is not None)]

EVERYTHING = "*"
MAY_BLOCK = {
    # Not async: a small file, read before there is a host whose other work could wait for it.
    ("wasmplex/host.py", "from_config"): EVERYTHING,
    # Modules are imported when they are first needed. That guest calls import none has a test of its own.
    ("<frozen importlib._bootstrap>", "_find_and_load"): EVERYTHING,
    # redis-py looks up its own version in the installed packages for each client that it makes.
    ("redis/utils.py", "get_lib_version"): EVERYTHING,
    # The thread has been told to end and does so at once; nothing is served any more.
    ("wasmplex/engine/ticker.py", "close"): "threading.Lock.acquire",
    # The thread deletes a few instances, which takes it milliseconds; nothing is served any more.
    ("wasmplex/engine/worker.py", "close"): "threading.Lock.acquire",
}

# How long one example takes says more about the machine than about the code.
settings.register_profile("wasmplex", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wasmplex")


@pytest.fixture(scope="session", autouse=True)
def _the_loop_is_never_blocked() -> Iterator[None]:
    """Have every call fail that blocks a running event loop and was made, if indirectly, by our own code."""
    watch = BlockBuster(WATCHED, excluded_modules=["wasmplex.testing"])
    for (file, function), call in MAY_BLOCK.items():
        for name, watched in watch.functions.items():
            if call in (EVERYTHING, name):
                watched.can_block_in(file, function)
    watch.activate()
    yield
    watch.deactivate()


@pytest.fixture(autouse=True)
def _unoptimized(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``WASMPLEX_TEST_OPTIMIZE=0``, run every guest of this process as ``optimize = false`` does."""
    if os.environ.get("WASMPLEX_TEST_OPTIMIZE") == "0":
        from wasmplex import strategy, workload
        from wasmplex.assembly import PlannedWorkload

        def plain(planned: PlannedWorkload, engine: strategy.EngineSettings) -> strategy.Strategy:
            return strategy.strategy(replace(planned, optimize=False), engine)

        monkeypatch.setattr(workload, "strategy", plain)


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Take back what a command that is run in this process does to its log."""
    root, own = logging.getLogger(), logging.getLogger("wasmplex")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def pytest_collection_finish() -> None:
    """Have collections pass by what ten thousand tests are made of: a full one takes 0.3 s else."""
    gc.collect()
    gc.freeze()


# ---------------------------------------------------------------- several workers


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, where there are several workers to share them."""
    if items and "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have a test that is marked ``alone`` wait until no other worker runs one, and the others for its end.

    Around all other hooks, so that the wait is no part of the test's time. The locks go with their process.
    """
    if not hasattr(item.config, "workerinput"):
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with (ROOT / "conftest.py").open() as gate, (ROOT / "pyproject.toml").open() as room:
        # Who waits for the room keeps the gate shut: else others would come in as long as there are any.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)
