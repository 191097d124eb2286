"""What a guest may answer, and what leaves then."""

from __future__ import annotations

from typing import Any, NamedTuple

from wasmplex.errors import GuestExit, Trap

__all__ = ["ANSWERS", "Answer"]

Fields = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """One case.

    :ivar section: of RFC 9110 or 9112; empty for what is a promise of ours
    :ivar first: method and version of the request
    :ivar pieces: of the body, each of which leaves before the next is made; None: no end is made
    :ivar after: what the handler does when it has made all of it: raise, or wait in vain
    :ivar before: what came back in 0.1.0
    :ivar now: what comes back: the status, how the content is delimited, the content, trailers
    """

    case: str
    section: str
    first: str
    status: int
    fields: Fields
    pieces: list[bytes | None]
    before: str
    now: str
    trailers: Fields | None = None
    after: Any = None


def length(*values: bytes) -> Fields:
    return [(b"content-length", value) for value in values]


_GET, _HEAD, _OLD = "GET 1.1", "HEAD 1.1", "GET 1.0"
_WHOLE: list[bytes | None] = [b"hello"]
_STREAM: list[bytes | None] = [b"he", b"llo"]

ANSWERS: dict[str, list[Answer]] = {
    "Length of an answer": [
        Answer("whole", "9110 8.6", _GET, 200, [], _WHOLE,
               "200, length 5, hello", "200, length 5, hello"),
        Answer("streamed", "9112 7.1", _GET, 200, [], _STREAM,
               "200, chunked, hello", "200, chunked, hello"),
        Answer("streamed, with a length", "9112 6.2", _GET, 200, length(b"5"), _STREAM,
               "200, length 5, hello", "200, length 5, hello"),
        Answer("streamed, HTTP/1.0", "9112 6.3", _OLD, 200, [], _STREAM,
               "200, no length, hello", "200, no length, hello"),
        Answer("whole, HTTP/1.0", "9110 8.6", _OLD, 200, [], _WHOLE,
               "200, length 5, hello", "200, length 5, hello"),
        Answer("twice the same", "9110 8.6", _GET, 200, length(b"5", b"5"), _WHOLE,
               "200, length 5 and 5, hello", "200, length 5, hello"),
        Answer("two", "9110 8.6", _GET, 200, length(b"5", b"7"), _WHOLE,
               "500", "502"),
        Answer("5_0", "9110 8.6", _GET, 200, length(b"5_0"), [b"hello" * 10],
               "not HTTP", "502"),
        Answer("+5", "9110 8.6", _GET, 200, length(b"+5"), _WHOLE,
               "not HTTP", "502"),
        Answer("abc", "9110 8.6", _GET, 200, length(b"abc"), _WHOLE,
               "500", "502"),
        Answer("zeros in front", "9110 8.6", _GET, 200, length(b"005"), _WHOLE,
               "200, length 005, hello", "200, length 5, hello"),
        Answer("longer than it says", "9110 8.6", _GET, 200, length(b"4"), _WHOLE,
               "500", "502"),
        Answer("shorter than it says", "9110 8.6", _GET, 200, length(b"6"), _WHOLE,
               "500", "502"),
        Answer("transfer-encoding of the handler's", "9112 6.1", _GET, 200,
               [(b"transfer-encoding", b"gzip, chunked")], _WHOLE,
               "200, length 5, hello", "200, length 5, hello"),
        Answer("HEAD, with a length", "9110 9.3.2", _HEAD, 200, length(b"5"), [],
               "200, length 5", "200, length 5"),
        Answer("HEAD, with a body", "9110 9.3.2", _HEAD, 200, [], _WHOLE,
               "200, length 5", "200, length 5"),
        Answer("HEAD, without", "9110 9.3.2", _HEAD, 200, [], [],
               "200, no length", "200, no length"),
        Answer("HEAD, 5_0", "9110 8.6", _HEAD, 200, length(b"5_0"), [],
               "not HTTP", "502"),
        Answer("HEAD, streamed", "9110 9.3.2", _HEAD, 200, [], _STREAM,
               "200, no length", "200, no length"),
        Answer("304, with a length", "9110 15.4.5", _GET, 304, length(b"5"), [],
               "304, length 5", "304, length 5"),
        Answer("304, two lengths", "9110 8.6", _GET, 304, length(b"5", b"7"), [],
               "not HTTP", "502"),
        Answer("304, abc", "9110 8.6", _GET, 304, length(b"abc"), [],
               "500", "502"),
        Answer("304, with a body", "9110 15.4.5", _GET, 304, [], _WHOLE,
               "304, no length", "304, no length"),
        Answer("204, with a length", "9110 8.6", _GET, 204, length(b"5"), _WHOLE,
               "204, length 5", "204, no length"),
        Answer("204, streamed", "9110 15.3.5", _GET, 204, [], _STREAM,
               "204, no length", "204, no length"),
        Answer("204, abc", "9110 8.6", _GET, 204, length(b"abc"), [],
               "500", "502"),
        Answer("205, with a body", "9110 15.3.6", _GET, 205, [], _WHOLE,
               "205, length 5, hello", "205, length 0"),
        Answer("205, streamed, with a length", "9110 15.3.6", _GET, 205, length(b"5"), _STREAM,
               "205, length 5, hello", "205, length 0"),
        Answer("101", "9110 15.2", _GET, 101, [], [],
               "502", "502"),
        Answer("600", "9110 15", _GET, 600, [], [],
               "502", "502"),
        Answer("a status without a phrase", "9112 4", _GET, 299, [], _WHOLE,
               "299, length 5, hello", "299, length 5, hello"),
    ],
    "Fields of an answer": [
        Answer("CR and LF in a value", "9110 5.5", _GET, 200, [(b"x", b"a\r\nset-cookie: b")], _WHOLE,
               "500", "502"),
        Answer("a bare LF in a value", "9110 5.5", _GET, 200, [(b"x", b"a\nb")], _WHOLE,
               "500", "502"),
        Answer("NUL in a value", "9110 5.5", _GET, 200, [(b"x", b"\0")], _WHOLE,
               "500", "502"),
        Answer("ESC in a value", "9110 5.5", _GET, 200, [(b"x", b"\x1b")], _WHOLE,
               "200, length 5, hello", "502"),
        Answer("a name that is no token", "9110 5.1", _GET, 200, [(b"x y", b"")], _WHOLE,
               "not HTTP", "502"),
        Answer("no name", "9110 5.1", _GET, 200, [(b"", b"a")], _WHOLE,
               "not HTTP", "502"),
        Answer("trailers", "9110 6.5", _GET, 200, [], _WHOLE,
               "200, chunked, hello, x-t: 1", "200, chunked, hello, x-t: 1", [(b"x-t", b"1")]),
        Answer("trailers, streamed", "9110 6.5", _GET, 200, [], _STREAM,
               "200, chunked, hello, x-t: 1", "200, chunked, hello, x-t: 1", [(b"x-t", b"1")]),
        Answer("trailers, with a length", "9112 6.3", _GET, 200, length(b"5"), _STREAM,
               "200, length 5, hello", "200, length 5, hello", [(b"x-t", b"1")]),
        Answer("trailers, HTTP/1.0", "9112 6.3", _OLD, 200, [], _STREAM,
               "200, no length, hello", "200, no length, hello", [(b"x-t", b"1")]),
        Answer("trailers, HEAD", "9110 9.3.2", _HEAD, 200, [], [],
               "200, no length", "200, no length", [(b"x-t", b"1")]),
        Answer("a trailer that frames", "9110 6.5.1", _GET, 200, [], _STREAM,
               "200, chunked, hello, content-length: 99", "200, chunked, hello", length(b"99")),
        Answer("a trailer that routes", "9110 6.5.1", _GET, 200, [], _STREAM,
               "200, chunked, hello, host: a", "200, chunked, hello", [(b"host", b"a")]),
        Answer("a trailer with CR and LF", "9110 5.5", _GET, 200, [], _WHOLE,
               "200, chunked, cut off", "502", [(b"x", b"a\r\n\r\nb")]),
    ],
    "An answer stays what it is": [
        Answer("whole, then exit 0", "", _GET, 200, [], _WHOLE,
               "502", "200, length 5, hello", None, GuestExit(0)),
        Answer("whole, then exit 1", "", _GET, 200, [], _WHOLE,
               "502", "200, length 5, hello", None, GuestExit(1)),
        Answer("whole, then a trap", "", _GET, 200, [], _WHOLE,
               "502", "200, length 5, hello", None, Trap("unreachable")),
        Answer("whole, then an error of the host's", "", _GET, 200, [], _WHOLE,
               "502", "200, length 5, hello", None, RuntimeError("bug")),
        Answer("whole, then limits.timeout", "", _GET, 200, [], _WHOLE,
               "200, length 5, hello", "200, length 5, hello", None, "wait"),
        Answer("streamed, then exit 0", "", _GET, 200, [], _STREAM,
               "200, chunked, hello", "200, chunked, hello", None, GuestExit(0)),
        Answer("streamed, then a trap", "", _GET, 200, [], _STREAM,
               "200, chunked, hello", "200, chunked, hello", None, Trap("unreachable")),
        Answer("streamed, then limits.timeout, HTTP/1.0", "", _OLD, 200, [], _STREAM,
               "200, no length, hello", "200, no length, hello", None, "wait"),
        Answer("204, then a trap", "", _GET, 204, [], [],
               "502", "204, no length", None, Trap("unreachable")),
        Answer("with trailers, then a trap", "", _GET, 200, [], _WHOLE,
               "502", "200, chunked, hello, x-t: 1", [(b"x-t", b"1")], Trap("trap")),
        Answer("half, then exit 0", "", _GET, 200, [], [b"he", None],
               "502", "502", None, GuestExit(0)),
        Answer("half that has left, then exit 0", "", _GET, 200, [], [b"he", b"l", None],
               "200, chunked, cut off", "200, chunked, cut off", None, GuestExit(0)),
        Answer("half, then a trap", "", _GET, 200, [], [b"he", None],
               "502", "502", None, Trap("unreachable")),
        Answer("half that has left, then a trap", "", _GET, 200, [], [b"he", b"l", None],
               "200, chunked, cut off", "200, chunked, cut off", None, Trap("trap")),
        Answer("half of its length, then exit 0", "", _GET, 200, length(b"5"), [b"he", b"l", None],
               "200, length 5, cut off", "200, length 5, cut off", None, GuestExit(0)),
        Answer("half, HTTP/1.0, then a trap", "", _OLD, 200, [], [b"he", b"l", None],
               "200, no length, cut off", "200, no length, cut off", None, Trap("trap")),
    ],
}  # fmt: skip
