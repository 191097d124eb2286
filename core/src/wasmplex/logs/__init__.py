"""What the host says in its log: whose request a record belongs to, foreign text escaped, floods counted.

Every module of the host gets its logger from `get_logger`, so that its records are safe whoever handles them:
`wasmplex run`, or the application that the host is embedded in. The formatters and `Counted` are what
``wasmplex run`` sets up, and are free to use in such an application.
"""

from wasmplex.logs.context import Origin, Remembered, SharedOrigin, Whose, origin
from wasmplex.logs.counting import Counted
from wasmplex.logs.formats import JsonFormatter, TextFormatter
from wasmplex.logs.identity import identity
from wasmplex.logs.records import get_logger, log_text

__all__ = [
    "Counted",
    "JsonFormatter",
    "Origin",
    "Remembered",
    "SharedOrigin",
    "TextFormatter",
    "Whose",
    "get_logger",
    "identity",
    "log_text",
    "origin",
]
