"""What HTTP asks for, case by case: the table in docs/internals/http.md, each of whose rows is a test.

`test_http_rows.py` and `test_http_answers.py` play them on real sockets; what comes back has to be ``now``.
``before`` is what came back in 0.1.0.
"""

from __future__ import annotations

from .answers import ANSWERS, Answer
from .bodies import BODIES
from .heads import HEADS
from .rows import MAX_HEAD, Row

__all__ = ["ANSWERS", "MAX_HEAD", "REQUESTS", "Answer", "Row"]

REQUESTS = {**HEADS, **BODIES}
