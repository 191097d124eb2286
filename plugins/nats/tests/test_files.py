"""Files that settings name: on a disk that does not answer, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_plugin_nats import NatsBlobProvider, NatsMessagingProvider, NatsProvider
from host_plugin_nats.connecting import Told
from stuckfiles import PATIENCE, refused_in_time, stuck
from wasmplex.plugin import BackendError, OpenContext

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("key", ["tls_ca_file", "creds"])
@pytest.mark.parametrize("provider", [NatsProvider(), NatsBlobProvider(), NatsMessagingProvider()], ids=type)
async def test_a_file_that_never_gives_anything(
    tmp_path: Path, provider: NatsProvider | NatsBlobProvider | NatsMessagingProvider, key: str
) -> None:
    with stuck(tmp_path / "stuck") as path:
        settings = provider.settings.model_validate({key: "stuck", "timeout": PATIENCE})
        await refused_in_time(provider.open(settings, OpenContext(tmp_path, "nats")), key, path)  # type: ignore[arg-type]


async def test_a_file_that_gets_stuck_is_waited_for_by_one_thread(tmp_path: Path) -> None:
    creds = tmp_path / "user.creds"
    creds.write_text("first")
    settings = NatsProvider.settings(creds=creds, timeout=PATIENCE)
    told = await Told.read(settings, OpenContext(tmp_path, "nats"))
    try:
        assert told.now["user_credentials"] == "first"
        creds.write_text("second")
        assert (await told.renew())["user_credentials"] == "second"
        creds.unlink()
        with stuck(creds):
            for _ in range(3):
                await refused_in_time(told.renew(), "creds", creds)
            assert told._files._threads.live == 1
        creds.unlink()
        creds.write_text("third")
        assert (await told.renew())["user_credentials"] == "third"
    finally:
        told.close()


async def test_credentials_that_are_not_there(tmp_path: Path) -> None:
    settings = NatsProvider.settings(creds=Path("none.creds"))
    with pytest.raises(BackendError, match="creds of the NATS connection cannot be used") as caught:
        await NatsProvider().open(settings, OpenContext(tmp_path, "nats"))
    assert "no such file or directory" in str(caught.value)
