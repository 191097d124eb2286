"""What Redis's errors mean: to whoever opens the store, and to the guest of an operation."""

from __future__ import annotations

from redis import exceptions as redis
from redis.asyncio.sentinel import MasterNotFoundError
from wasmplex.capabilities.keyvalue import (
    AccessDenied,
    InvalidArgument,
    KeyValueError,
    Other,
    QuotaExceeded,
    StoreUnavailable,
    Timeout,
)
from wasmplex.plugin import BackendError, why_unreachable

from host_plugin_redis.scripts import OUT_OF_RANGE
from host_plugin_redis.urls import Target

__all__ = ["DRIVER_ERRORS", "NO_REDIS", "opening_failed", "operation_failed"]

DRIVER_ERRORS = (redis.RedisError, redis.RedisClusterException, OSError)
"""What the driver raises."""

NO_REDIS = "what answers there does not speak the protocol of Redis"

_DENIED = (redis.AuthenticationError, redis.AuthorizationError, redis.NoPermissionError)
_AWAY = (
    redis.ConnectionError, redis.ClusterDownError, redis.TryAgainError, redis.MasterDownError,
    redis.RedisClusterException, redis.ClusterError, redis.ReadOnlyError, redis.AskError, OSError,
)  # fmt: skip
_NO_NUMBER = ("value is not an integer", "would overflow", OUT_OF_RANGE)
_NO_PASSWORD = ("NOAUTH", "Authentication required")
_DENIED_WORDS = (*_NO_PASSWORD, "WRONGPASS", "NOPERM", "DENIED")


def operation_failed(error: Exception) -> KeyValueError:
    """Return what the guest is told: words of our own, for the server's may quote arguments."""
    text = str(error)
    match error:
        case redis.TimeoutError() | TimeoutError():
            return Timeout("no answer from the server")
        case redis.OutOfMemoryError():
            return QuotaExceeded("the server is out of memory")
        case _ if isinstance(error, _DENIED) or any(word in text[:60] for word in _DENIED_WORDS):
            return AccessDenied("the server refuses the credentials, or they lack a right")
        case redis.BusyLoadingError():
            return StoreUnavailable("the server is starting")
        case _ if isinstance(error, _AWAY):
            return StoreUnavailable("the server cannot be reached")
        case redis.ResponseError():
            return _by_text(text)
    return Other(f"Redis reports {type(error).__name__}")


def _by_text(text: str) -> KeyValueError:
    if any(words in text for words in _NO_NUMBER):
        return InvalidArgument("the value is not a decimal s64, or the sum would leave the range")
    if "OOM" in text:
        return QuotaExceeded("the server is out of memory")
    if "MISCONF" in text:
        if "No space left" in text or "disk" in text:
            return QuotaExceeded("the server cannot write to its disk")
        return StoreUnavailable("the server cannot persist and takes no writes")
    if "WRONGTYPE" in text:
        return Other("the key holds another type than a string")
    if text.startswith(("CLUSTERDOWN", "LOADING", "READONLY", "MASTERDOWN", "TRYAGAIN")):
        return StoreUnavailable("the server is not ready")
    if "proto-max-bulk-len" in text or "invalid bulk length" in text or "string exceeds" in text:
        return QuotaExceeded("the value is longer than the server allows")
    return Other(f"Redis reports {text.split(' ', 1)[0][:40]}")


def opening_failed(error: Exception, target: Target) -> BackendError:
    """Return what the operator is told."""
    where = f"cannot open the Redis store at {target}"
    refused = operation_failed(error)
    # Servers say so to who names no password; one that is wrong is WRONGPASS. Sentinels are never given any.
    if target.kind != "sentinel" and any(words in str(error)[:60] for words in _NO_PASSWORD):
        why, fix = "the server wants a password; none is configured", 'password = { env = "REDIS_PASSWORD" }'
        return BackendError(where, why=why, fix=fix)
    if isinstance(refused, AccessDenied):
        return BackendError(where, why=str(refused), fix="check username and password, and the user's ACL")
    if isinstance(error, MasterNotFoundError):  # its text is made of the driver's own objects
        why = f"no Sentinel there answers and has a primary {target.service!r}"
        fix = "check the addresses of the Sentinels, that they want no password, and the name behind them"
        return BackendError(where, why=why, fix=fix)
    if NO_REDIS in str(error) or "Protocol error" in str(error):  # the first is ours, the second the driver's
        return BackendError(where, why=NO_REDIS, fix="check the host and the port in url")
    if isinstance(refused, (StoreUnavailable, Timeout)):
        # The driver names address and cause, never credentials; the pool masks what settings keep secret.
        why = why_unreachable(error) or str(error) or str(refused)
        return BackendError(where, why=why, fix=_try(error, target))
    if target.kind == "sentinel" and "unknown command" in str(error):
        fix = "redis:// instead of redis+sentinel://, for a server of its own"
        return BackendError(where, why="what answers there is no Sentinel", fix=fix)
    if "DB index" in str(error):
        fix = "a smaller number at the end of url"
        return BackendError(where, why=f"the server has no database {target.db}", fix=fix)
    return BackendError(where, why=str(error) or str(refused))


def _try(error: Exception, target: Target) -> str:
    if "Cluster mode is not enabled" in str(error):
        return "redis:// instead of redis+cluster://, for a server of its own"
    tls = "has TLS; without, redis://" if target.tls else "wants TLS (rediss://)"
    return f"check that the server runs, the address, and whether it {tls}"
