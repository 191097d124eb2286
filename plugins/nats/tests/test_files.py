"""Files that settings name: on a disk that does not answer, and read again."""

from __future__ import annotations

import base64
import json
import secrets
import time
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest
from host_plugin_nats import NatsBlobProvider, NatsMessagingProvider, NatsProvider
from host_plugin_nats.connecting import Told
from stuckfiles import PATIENCE, refused_in_time, stuck
from wasmplex.capabilities.messaging import Message
from wasmplex.plugin import BackendError, OpenContext
from wasmplex.testing.servers import NatsServer

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


_UNBOUND = dict.fromkeys(("subs", "data", "payload", "conn", "imports", "exports"), -1)


def _token(signer: nkeys.KeyPair, subject: nkeys.KeyPair, kind: str) -> str:
    """Return a token of NATS: who says it, of whom."""

    def coded(part: object) -> str:
        data = part if isinstance(part, bytes) else json.dumps(part).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {
        "jti": secrets.token_hex(16),
        "iat": int(time.time()),
        "iss": signer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": kind,
        "nats": {"type": kind, "version": 2, **({"limits": _UNBOUND} if kind == "account" else _UNBOUND)},
    }
    said = f"{coded({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{coded(claims)}"
    return f"{said}.{coded(signer.sign(said.encode()))}"


def _pair(kind: int) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), kind))


async def test_a_login_with_a_credentials_file(tmp_path: Path) -> None:
    operator, user = _pair(nkeys.PREFIX_BYTE_OPERATOR), _pair(nkeys.PREFIX_BYTE_USER)
    account, system = _pair(nkeys.PREFIX_BYTE_ACCOUNT), _pair(nkeys.PREFIX_BYTE_ACCOUNT)
    accounts = [f"{one.public_key.decode()}: {_token(operator, one, 'account')}" for one in (account, system)]
    config = f"""operator: {_token(operator, operator, "operator")}
system_account: {system.public_key.decode()}
resolver: MEMORY
resolver_preload: {{ {", ".join(accounts)} }}"""
    (tmp_path / "user.creds").write_text(
        f"-----BEGIN NATS USER JWT-----\n{_token(account, user, 'user')}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    with NatsServer(config=config) as server:
        values: dict[str, Any] = {"url": f"nats://{server.address}", "creds": "user.creds"}
        settings = NatsMessagingProvider.settings(**values)
        broker = await NatsMessagingProvider().open(settings, OpenContext(tmp_path, "nats"))
        try:
            await broker.publish("", Message("orders", b""))
            assert "seed" not in repr(broker).lower()
        finally:
            await broker.close()
