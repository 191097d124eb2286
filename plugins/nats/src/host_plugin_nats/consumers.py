"""What the consumer of a durable subscription is to be, and what its stream has to be for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wasmplex.capabilities.messaging import Subscription
from wasmplex.capabilities.messaging.subjects import covers, distinct, overlap
from wasmplex.plugin import ConfigError

from host_plugin_nats.answers import Said

__all__ = [
    "OWNER",
    "check_confirms",
    "check_keeps",
    "check_lasts",
    "check_overlap",
    "check_start",
    "consumer_config",
    "is_as_wanted",
    "listed",
]

OWNER = "wasmplex-workload"
"""The metadata of a consumer that says whose it is."""
_PENDING, _PENDING_EACH = 256, 32
"""Messages of a consumer that may be without an outcome, those that wait for another delivery included: so
many, or so many for each call that may be under way. A server that is slow to note outcomes delivers no more
until it has: it would deliver again what has been handled."""
_START: Final = {"new": "new", "first": "all"}
_KEPT: Final = (
    "deliver_policy",
    "description",
    "max_waiting",
    "mem_storage",
    "num_replicas",
    "opt_start_seq",
    "opt_start_time",
    "pause_until",
    "replay_policy",
    "sample_freq",
)
"""What is left as it was found: what the server changes in no consumer, and what changes no message.

Whatever else somebody has set, and we have not, is taken away. Each may contradict what is asked for: a bound
of requests refuses ours, another backoff delivers again what is being handled, and a consumer that ends
unless it is used loses what waits for a host that is away.
"""
_SERVERS: Final = "_nats."
"""What the metadata begins with that servers write, newer ones to each consumer."""


def consumer_config(found: Said | None, stream: Said | None, subscription: Subscription) -> dict[str, Any]:
    """Return how a consumer is to be configured.

    :param found: how it is; None if there is none
    :param stream: how its stream is configured, which may bound what is asked for
    """
    subjects = list(subscription.subjects)
    pending = max(_PENDING, _PENDING_EACH * subscription.max_in_flight)
    most = None if stream is None else stream.part("consumer_limits").all.get("max_ack_pending")
    if isinstance(most, int) and most > 0:
        pending = min(pending, most)
    filters = {"filter_subject": subjects[0]} if len(subjects) == 1 else {"filter_subjects": subjects}
    wanted = {
        "durable_name": subscription.durable,
        "name": subscription.durable,
        "ack_policy": "explicit",
        "ack_wait": int(subscription.ack_wait * 10**9),
        "max_deliver": -1,
        "max_ack_pending": 1 if subscription.ordered else pending,
        "metadata": {**({} if found is None else _of_others(found)), OWNER: subscription.owner},
        **filters,
    }
    if found is None:
        return {"deliver_policy": _START[subscription.start], **wanted}
    return {**{key: found.all[key] for key in _KEPT if key in found.all}, **wanted}


def is_as_wanted(found: Said, config: Mapping[str, Any]) -> bool:
    """Say whether a consumer is as `consumer_config` says, but for what the server has written to it."""
    there = {key: value for key, value in found.all.items() if value}
    if "metadata" in there:
        there["metadata"] = _of_others(found)
    return there == {key: value for key, value in config.items() if value}


def _of_others(found: Said) -> Mapping[str, Any]:
    """Return the metadata of a consumer that is not the server's own."""
    metadata = found.part("metadata").all
    return {key: value for key, value in metadata.items() if not key.startswith(_SERVERS)}


def check_start(name: str, stream: Said, subscription: Subscription) -> None:
    """Refuse to begin a subscription where its stream lets none begin."""
    if stream.all.get("retention") == "workqueue" and subscription.start != "first":
        raise ConfigError(
            f"the stream {name} is a work queue, of which nobody takes only what is new",
            fix='start = "first"',
        )


def check_keeps(name: str, stream: Said, subjects: Sequence[str]) -> None:
    """Refuse a stream that does not keep all of some subjects."""
    kept = stream.texts("subjects")
    lacking = [pattern for pattern in subjects if not any(covers(own, pattern) for own in kept)]
    if lacking:
        all_ = ",".join(distinct([*kept, *lacking]))
        raise ConfigError(
            f"the stream {name} does not keep {listed(lacking)}",
            why=f"it keeps {listed(kept)}",
            fix=f"nats stream edit {name} --subjects '{all_}'",
        )


def check_confirms(name: str, config: Said | None) -> None:
    """Refuse a stream of which nobody hears whether it has a message: what is sent again is there twice."""
    if config is not None and config.all.get("no_ack"):
        raise ConfigError(
            f"the stream {name} confirms no message that it stores",
            why="it has no_ack, and what nobody confirms is sent again",
            fix=f"nats stream edit {name} --ack",
        )


def check_lasts(name: str, config: Said) -> None:
    """Refuse a stream whose consumers end while a host is away, and with them what waits for it."""
    threshold = config.part("consumer_limits").all.get("inactive_threshold")
    if isinstance(threshold, int) and threshold > 0:
        raise ConfigError(
            f"the stream {name} keeps no consumer that is not used for {threshold / 10**9:g} s",
            why="a host that is away for longer loses what waits for it: its consumer_limits have an"
            " inactive_threshold",
            fix=f"nats stream edit {name} --interactive, and remove inactive_threshold",
        )


def check_overlap(patterns: Sequence[str]) -> None:
    """Refuse patterns that JetStream takes in no consumer."""
    for number, pattern in enumerate(patterns):
        if other := next((own for own in patterns[:number] if overlap(own, pattern)), None):
            raise ConfigError(
                f"the subjects {other} and {pattern} overlap",
                why="a durable subscription of JetStream has no two patterns that one message matches",
                fix="name a pattern that covers both, or write a table of trigger.messaging for each",
            )


def listed(subjects: Sequence[str]) -> str:
    """Return subjects as an error shows them."""
    return ", ".join(subjects)
