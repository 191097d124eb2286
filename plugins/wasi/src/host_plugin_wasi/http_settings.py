"""The settings of ``wasi:http``: how the requests of guests are sent, and what their answers may be like."""

from __future__ import annotations

from ssl import SSLError, create_default_context
from typing import Annotated

from pydantic import AfterValidator, Field
from wasmplex.plugin import Duration, Settings, Size

__all__ = ["OutgoingSettings"]


def _certificates(value: str | None) -> str | None:
    if value is not None:
        try:
            create_default_context(cadata=value)
        except (SSLError, ValueError) as error:
            raise ValueError("not certificates in the PEM format") from error
    return value


class OutgoingSettings(Settings):
    """``default."wasi:http"`` of a workload, ``import.LABEL`` for an ``outgoing-handler`` with a label."""

    connect_timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """How long connecting may take, from the name to the end of the TLS handshake, and the wait for one of
    `max_connections`. A guest may ask for less by `request-options`, not for more."""
    first_byte_timeout: Annotated[Duration, Field(gt=0)] = 600.0
    """How long a server may take from the end of connecting until the headers of its answer are here. A guest
    may ask for less."""
    between_bytes_timeout: Annotated[Duration, Field(gt=0)] = 600.0
    """How long a pause in the body of an answer may be, and how long a server may take nothing of a request's
    body once it has answered. A guest may ask for less."""
    expect_timeout: Duration = 1.0
    """How long a body waits for the server's word after `expect: 100-continue`; then it leaves."""
    max_connections: int = Field(default=128, ge=1)
    """Connections that may be open at once; idle ones are closed for others."""
    keep_alive: Duration = 15.0
    """How long an idle connection is kept for the next request; `0s` keeps none."""
    max_head: Annotated[Size, Field(gt=0)] = 128 * 1024
    """Bytes that the status line and the headers of an answer may have."""
    max_headers: int = Field(default=256, ge=1)
    """Headers that an answer may have."""
    max_trailers: Annotated[Size, Field(gt=0)] = 16 * 1024
    """Bytes that the trailers of an answer may have."""
    max_informational: int = Field(default=16, ge=0)
    """Informational answers (1xx) that may come before the answer; the guest sees none of them."""
    ca: Annotated[str | None, AfterValidator(_certificates)] = None
    """Certificates (PEM) of authorities to trust in place of the system's: `{ file = "authorities.pem" }`."""
