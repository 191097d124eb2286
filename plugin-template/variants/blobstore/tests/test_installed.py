"""The distribution announces the backend, and the host can load it."""

from wasmplex.plugins import PluginState, Registry


def test_the_host_finds_it() -> None:
    registry = Registry()
    assert registry.backend("example", "blobstore").name == "example"
    mine = next(status for status in registry.status() if status.identity.name == "example")
    assert (mine.state, mine.identity.distribution) == (PluginState.READY, "host-plugin-example")
