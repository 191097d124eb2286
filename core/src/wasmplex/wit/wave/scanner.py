"""The tokens of WAVE text."""

from __future__ import annotations

import re

__all__ = ["Scanner", "WaveError"]

_BLANK = re.compile(r"(?:[ \t\r\n]|//[^\n]*)*")
_LABEL = re.compile(r"%?(?:[a-z][0-9a-z]*|[A-Z][0-9A-Z]*)(?:-(?:[0-9a-z]+|[0-9A-Z]+))*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|-inf\b|inf\b|nan\b")
_ESCAPE = re.compile(r"\\(?:([\\\"'tnr])|u\{([0-9a-fA-F]{1,6})\})")
_MULTILINE = re.compile(
    r'"""\r?\n(?P<body>(?:[^"\\]|\\.|"(?!""))*?)(?:(?<=\n)|\n|\r\n)(?P<indent> *)"""', re.DOTALL
)
_SIMPLE = {"\\": "\\", '"': '"', "'": "'", "t": "\t", "n": "\n", "r": "\r"}


class WaveError(ValueError):
    """Raised when text is not a value of the type that is wanted.

    :ivar column: where in the text, from 1
    """

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


class Scanner:
    """Reads tokens one after the other; blanks and comments between them are skipped.

    :ivar at: the index of the next character
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, message: str, at: int | None = None) -> WaveError:
        """Return the error to raise, by default at the next token."""
        return WaveError(message, (self.at if at is None else at) + 1)

    def found(self) -> str:
        """Return what stands next, for a message."""
        self.skip()
        if self.at >= len(self.text):
            return "the end"
        label = _LABEL.match(self.text, self.at) or _NUMBER.match(self.text, self.at)
        return repr(label[0] if label else self.text[self.at])

    def skip(self) -> None:
        """Skip blanks and comments."""
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, token: str) -> bool:
        """Take a punctuation mark if it stands next."""
        self.skip()
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def expect(self, token: str) -> None:
        """Take a punctuation mark.

        :raises WaveError: something else stands next
        """
        if not self.take(token):
            raise self.fail(f"{token!r} is wanted, not {self.found()}")

    def end(self) -> None:
        """Make sure that nothing follows.

        :raises WaveError: something does
        """
        self.skip()
        if self.at < len(self.text):
            raise self.fail(f"nothing is wanted after the value, not {self.found()}")

    def peek_label(self) -> str | None:
        """Return the label that stands next, with its ``%`` if it has one."""
        self.skip()
        match = _LABEL.match(self.text, self.at)
        return match[0] if match else None

    def label(self, what: str) -> str:
        """Take a label and return it with its ``%``.

        :raises WaveError: something else stands next
        """
        label = self.peek_label()
        if label is None:
            raise self.fail(f"{what} is wanted, not {self.found()}")
        self.at += len(label)
        return label

    def number(self, what: str) -> str:
        """Take a number, ``nan`` and ``inf`` included.

        :raises WaveError: something else stands next
        """
        self.skip()
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            raise self.fail(f"{what} is wanted, not {self.found()}")
        self.at = match.end()
        return match[0]

    def char(self) -> str:
        """Take ``'x'``.

        :raises WaveError: something else stands next
        """
        self.skip()
        start = self.at
        if not self.take("'"):
            raise self.fail(f"a character such as 'x' is wanted, not {self.found()}")
        text = self._quoted("'", start)
        if len(text) != 1:
            raise self.fail(f"one character is wanted between the quotes, not {len(text)}", start)
        return text

    def string(self) -> str:
        """Take ``"text"``, or the form of several lines.

        :raises WaveError: something else stands next
        """
        self.skip()
        start = self.at
        if self.text.startswith('"""', start):
            return self._multiline()
        if not self.take('"'):
            raise self.fail(f'a string such as "text" is wanted, not {self.found()}')
        return self._quoted('"', start)

    def _quoted(self, quote: str, start: int) -> str:
        parts: list[str] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == quote:
                self.at += 1
                return "".join(parts)
            if character == "\n":
                raise self.fail(r"a line break in a text is written \n")
            if character == "\\":
                parts.append(self._escape())
            else:
                parts.append(_scalar(self, character))
                self.at += 1
        raise self.fail(f"the closing {quote} is missing", start)

    def _escape(self) -> str:
        match = _ESCAPE.match(self.text, self.at)
        if match is None:
            raise self.fail(r"""not an escape; there are \\ \" \' \t \n \r and \u{1f600}""")
        number = int(match[2], 16) if match[2] else 0
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise self.fail(f"U+{number:X} is not a character")
        self.at = match.end()
        return _SIMPLE[match[1]] if match[1] else chr(number)

    def _multiline(self) -> str:
        match = _MULTILINE.match(self.text, self.at)
        if match is None:
            raise self.fail(
                'text of several lines begins with """ and a line break, and ends in a line with """'
            )
        indent = match["indent"]
        lines = []
        for line in match["body"].replace("\r\n", "\n").split("\n"):
            if not line.startswith(indent):
                raise self.fail(f"each line is indented as the closing quotes are, by {len(indent)}")
            lines.append(line[len(indent) :])
        inner = Scanner("\n".join(lines))
        parts: list[str] = []
        while inner.at < len(inner.text):
            character = inner.text[inner.at]
            parts.append(inner._escape() if character == "\\" else _scalar(inner, character))
            inner.at += character != "\\"
        self.at = match.end()
        return "".join(parts)


def _scalar(scanner: Scanner, character: str) -> str:
    if "\ud800" <= character < "\ue000":
        raise scanner.fail(f"U+{ord(character):X} is not a character")
    return character
