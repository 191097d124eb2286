"""``wasmplex messages``: the messages of a workload that it could not handle."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from wasmplex.cli.command import Command, Group
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.hostfile import load_host
from wasmplex.cli.letters import record_of, row_of
from wasmplex.cli.options import as_json, config_argument, registry
from wasmplex.cli.output import OutputError, echo
from wasmplex.cli.paging import PagedRows
from wasmplex.cli.resending import Resending, remove
from wasmplex.errors import FailureError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wasmplex.assembly import Assembly, PlannedWorkload
    from wasmplex.capabilities.messaging import Kept, Message, MessagingBackend, Subscription
    from wasmplex.config import HostConfig
    from wasmplex.plugins.registry import Registry
    from wasmplex.routing import BackendRoute, TriggerRoute

__all__ = ["command"]

_TRIGGER = "messaging"
_WIDEST = 60
"""Characters of a column."""


@click.group("messages", cls=Group, examples=["wasmplex messages dead host.toml shop"])
def command() -> None:
    """See the messages that handlers could not handle, and send them again."""


@command.command(
    "dead",
    cls=Command,
    examples=["wasmplex messages dead host.toml shop", "wasmplex messages dead host.toml shop --redeliver"],
)
@config_argument(required=True)
@click.argument("workload")
@click.option("--redeliver", is_flag=True, help="Send them back to the subjects that they came from.")
@click.option("--force", is_flag=True, help="Send back also those that are lost unless a host takes them.")
@click.option(
    "--remove",
    "remove_",
    nargs=2,
    metavar="SUBJECT ID",
    help="Remove one without sending it: --json says where it is kept_in, and its id.",
)
@as_json
@click.pass_context
def dead(
    ctx: click.Context, host: Path, workload: str, redeliver: bool, force: bool,
    remove_: tuple[str, str] | None, as_json: bool,
) -> None:  # fmt: skip
    """List the dead letters of a workload as they were given up.

    They are where trigger.messaging of the workload has them put: in a stream of its broker. With --redeliver
    each is sent again and removed once the broker has taken it; the workload is called with it anew. Without
    durable a broker has messages for those who listen just then: they are sent with --force alone.

    A table has what fits of an error and a body; --json has all of them, the body in base64 where "encoding"
    says so, and null where the letter was kept without it. SEEN is when the broker had the message first.
    """
    if force and not redeliver:
        raise UsageError("--force says what --redeliver may do", fix="--redeliver --force")
    if remove_ and redeliver:
        raise UsageError(
            "--remove and --redeliver exclude each other", fix="--remove alone, and then --redeliver"
        )
    config = load_host(host, registry(ctx), tell=False)
    rows = PagedRows(("seen", "subject", "reason", "tries", "error", "body"), _WIDEST, as_json)
    resending = Resending(f"{ctx.command_path} {host} {workload}") if redeliver else None
    order = _Order(resending, force, remove_, record_of if as_json else row_of)
    try:
        _listed(rows, in_event_loop, _dead, config, registry(ctx), workload, order, rows)
    except BaseException:  # whatever ends it, nothing else says what was sent
        if resending is not None:
            resending.tell(rows.printed)
        raise
    if not rows.count and not as_json:
        echo(f"{workload} has no dead letters")
    elif (redeliver or remove_) and not as_json:
        echo(f"{rows.count} {'sent again' if redeliver else 'removed'}")


def _listed(rows: PagedRows, function: Callable[..., None], *args: Any) -> None:
    """Call a function that adds rows, and print the last of them; some are printed also if it fails."""
    try:
        function(*args)
    except OutputError:
        raise
    except BaseException:
        if rows.count:
            rows.finish()
        raise
    rows.finish()


class _Order(NamedTuple):
    """What is to be done with the letters: see the options.

    :ivar resending: sends them again; None if they are not to be
    :ivar remove: the subject and the token of the only one to remove
    :ivar row: what is told of a letter, given the subject that it is kept under
    """

    resending: Resending | None
    force: bool
    remove: tuple[str, str] | None
    row: Callable[[Kept, str], dict[str, Any]]


async def _dead(config: HostConfig, plugins: Registry, workload: str, order: _Order, rows: PagedRows) -> None:
    from wasmplex.assembly import assemble
    from wasmplex.backends import BackendPool
    from wasmplex.capabilities.messaging import MessagingBackend, MessagingError

    assembly = await assemble(config, plugins, os.environ)
    planned = _planned(assembly, workload)
    async with BackendPool(config.base) as pool:
        for kept in _letters(planned):
            backend = _backend(kept.route)
            async with pool.lease(
                backend.provider, backend.settings, where=str(kept.route.where), plugin=str(backend.plugin)
            ) as broker:
                if not isinstance(broker, MessagingBackend):
                    continue
                try:
                    await _of_one(broker, workload, kept, order, rows)
                except (MessagingError, TimeoutError) as error:
                    what = f"the dead letters in {kept.subject} cannot be had"
                    why = str(error) or "the broker does not answer"
                    raise FailureError(what, where=str(kept.route.where), why=why) from error
    if order.remove is not None and not rows.count:
        subject, token = order.remove
        raise FailureError(f"{workload} has no dead letter {token} in {subject}")


async def _of_one(
    broker: MessagingBackend, workload: str, kept: _Letters, order: _Order, rows: PagedRows
) -> None:
    """List the letters of one place, each as it comes; send each again if that is asked for."""
    from wasmplex.triggers.messaging.outcomes import is_of

    namespace, subject = kept.route.origin[1], kept.subject
    if "dead-letters" not in broker.features:
        raise FailureError(
            f"no dead letters are kept in {subject}",
            where=str(kept.route.where),
            why="its broker keeps no messages, as a NATS server without JetStream: who listened has had them",
            fix="have the broker keep them (NATS: start the server with -js), and the next ones are listed",
        )
    count, stay = 0, 0
    told: _Stays | None = None
    async with AsyncExitStack() as subscribed:
        async for letter in broker.kept(namespace, subject):
            if not is_of(letter.message, workload):
                continue
            if order.remove is not None:
                if (subject, letter.token) == order.remove:
                    await remove(broker, namespace, subject, letter.token)
                    rows.add(order.row(letter, subject), len(letter.message.body))
                continue
            count += 1
            if order.resending is not None:
                try:
                    message = kept.resent(letter.message, letter.token, order.force)
                except _Stays as error:
                    stay += 1
                    told = error if told is None or (error.fix and not told.fix) else told
                    continue
                if count - stay == 1:
                    await kept.subscribe(broker, subscribed)
                await order.resending.resend(broker, namespace, subject, letter, message)
            rows.add(order.row(letter, subject), len(letter.message.body))
    if told is not None:
        what = f"{stay} of {count} dead letter{'' if count == 1 else 's'} in {subject} cannot be sent again"
        raise FailureError(what, why=str(told), fix=told.fix)


class _Stays(Exception):
    """Raised for a letter that is not sent again.

    :ivar fix: what to do to have it sent
    """

    def __init__(self, why: str, fix: str = "") -> None:
        super().__init__(why)
        self.fix = fix


# ---------------------------------------------------------------- what the configuration says


def _planned(assembly: Assembly, workload: str) -> PlannedWorkload:
    for planned in assembly.workloads:
        if planned.config.name == workload:
            return planned
    names = [planned.config.name for planned in assembly.workloads]
    raise UsageError(f"there is no workload {workload!r}", fix=nearest(workload, names))


class _Letters(NamedTuple):
    """Where dead letters of one or more tables are kept.

    :ivar route: the first of the tables
    :ivar patterns: the subjects of all of them
    :ivar fleeting: the subjects of those that are not durable
    :ivar durable: the subscriptions of those that are
    """

    route: TriggerRoute
    subject: str
    patterns: tuple[str, ...]
    fleeting: tuple[str, ...]
    durable: tuple[Subscription, ...]

    async def subscribe(self, broker: MessagingBackend, stack: AsyncExitStack) -> None:
        """Have the broker keep for the durable ones what is sent: they may not be there any more, or yet."""
        for subscription in self.durable:
            await stack.enter_async_context(broker.subscribe(self.route.origin[1], subscription))

    def resent(self, letter: Message, token: str, force: bool) -> Message:
        """Return the message that a letter was.

        :param token: what its broker calls the letter
        :param force: also if nobody keeps it when it is sent
        :raises _Stays: if it is not to be sent
        """
        from wasmplex.capabilities.messaging.subjects import matcher
        from wasmplex.triggers.messaging.outcomes import resent

        try:
            message = resent(letter, self.patterns, token)
        except ValueError as error:
            raise _Stays(str(error)) from None
        if not force and self.fleeting and matcher(self.fleeting).fullmatch(message.subject):
            why = f"without durable nobody keeps a message to {message.subject}: it is lost if no host runs"
            raise _Stays(why, "--redeliver --force, while a host runs that takes it")
        return message


def _letters(planned: PlannedWorkload) -> list[_Letters]:
    """Return where the dead letters of a workload are kept."""
    name, where = planned.config.name, str(planned.config.location)
    routes = [route for route in planned.plan.triggers if route.name == _TRIGGER]
    if not routes:
        raise UsageError(f"the workload {name!r} has no trigger.messaging", where=where)
    found = _places(name, routes)
    if not found:
        raise UsageError(
            f"no trigger.messaging of the workload {name!r} has dead letters",
            where=str(routes[0].where),
            why="without durable, what cannot be handled is logged",
            fix="durable = true, or dead_letter = ...",
        )
    return found


def _places(workload: str, routes: Sequence[TriggerRoute]) -> list[_Letters]:
    """Return where the dead letters of tables are kept, each place once: tables may share one."""
    found: list[_Letters] = []
    for route in routes:
        use = route.use(workload)
        if (subject := use.settings.dead_letters(workload)) is None:
            continue
        fleeting = () if use.settings.durable else use.settings.subjects
        durable = (use.settings.subscription(workload),) if use.settings.durable else ()
        for number, other in enumerate(found):
            theirs = other.route.use(workload)
            if (other.subject, theirs.backend, theirs.namespace) == (subject, use.backend, use.namespace):
                found[number] = other._replace(
                    patterns=other.patterns + use.settings.subjects,
                    fleeting=other.fleeting + fleeting,
                    durable=other.durable + durable,
                )
                break
        else:
            found.append(_Letters(route, subject, use.settings.subjects, fleeting, durable))
    return found


def _backend(route: TriggerRoute) -> BackendRoute:
    backend, _ = route.origin
    assert backend is not None  # noqa: S101  the trigger asks for one
    if backend.provider.in_process:
        raise UsageError(
            f"the dead letters of backend {backend.selector!r} are in the memory of the host that runs",
            where=str(route.where),
            fix='a broker outside of the host, backend = "nats" say, keeps them where they can be seen',
        )
    return backend
