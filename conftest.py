"""What holds for all tests of the repository."""

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from blockbuster import BlockBuster

PLUGINS = [
    f"host_plugin_{path.parent.name}" for path in Path(__file__).parent.glob("plugins/*/pyproject.toml")
]
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
}


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
def _logging() -> Iterator[None]:
    """Take back what a command that is run in this process does to its log."""
    root, own = logging.getLogger(), logging.getLogger("wasmplex")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])
