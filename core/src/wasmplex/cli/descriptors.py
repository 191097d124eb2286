"""The descriptors 0, 1 and 2, which every process is supposed to have.

One that is closed is given to whatever is opened next, the event loop's own say; libuv then ends the process
with an assertion, and what is meant for a terminal goes into a socket.
"""

from __future__ import annotations

import os
import select

__all__ = ["occupy", "wait_until_writable"]

# Reading from nothing is the end; writing to what was opened for reading fails, as it should for output that
# somebody asked for; messages go nowhere.
_MODES = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)


def occupy() -> None:
    """Open the null device on those of the three descriptors that are closed."""
    for number, mode in enumerate(_MODES):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            os.dup2(opened, number)  # even onto itself: it is then inherited
            os.set_inheritable(number, True)
            if opened != number:
                os.close(opened)


def wait_until_writable(descriptor: int) -> None:
    """Return when a descriptor takes data, or will never again.

    Needed where another process has made it non-blocking: whoever shares a terminal or a pipe shares that.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
