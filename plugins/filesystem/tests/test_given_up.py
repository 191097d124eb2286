"""A file whose writer went to nobody, because the call that made it was cancelled."""

from __future__ import annotations

from pathlib import Path

from host_plugin_filesystem.files import Staged
from host_plugin_filesystem.root import Root


def test_it_is_removed_when_the_next_one_is_made_and_not_by_whoever_drops_it(tmp_path: Path) -> None:
    root = Root(tmp_path / "blobs", create=True)

    def files() -> int:
        return sum(path.is_file() for path in (tmp_path / "blobs" / ".staging").rglob("*"))

    before = files()
    staged = Staged(root)
    staged.write([b"x"])
    del staged  # on the event loop, perhaps: nothing is unlinked there
    assert files() == before + 1
    another = Staged(root)
    assert files() == before + 1
    another.discard()
    assert files() == before
    root.close()
