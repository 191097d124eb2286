"""What wasmtime says about a failed call, in words for people."""

from __future__ import annotations

from wasmplex.engine.traps import innermost_cause, trap

NOTICE = """error while executing at wasm backtrace:
    0:     0x10c - wit-component:shim!indirect-wasi:io/poll

Caused by:
    0: BUG: deferred host scope has no call context
       This is a bug in Wasmtime that was not thought to be reachable. A bug report is
       appreciated; a test case that reproduces it
       is a sufficiently actionable bug for maintainers to investigate."""


def test_a_notice_of_a_bug_is_told_by_its_first_line() -> None:
    assert innermost_cause(NOTICE) == "a defect of wasmtime: deferred host scope has no call context"
    assert "deferred host scope" in trap("w", "two", NOTICE).render()


def test_other_messages_are_told_by_their_last() -> None:
    assert innermost_cause("failed\n\nCaused by:\n    0: one\n    1: wasm trap: two") == "two"


def test_lists_that_are_too_large_for_a_future_are_told_what_else_to_do() -> None:
    copied = "failed\n\nCaused by:\n    too much data is being copied between the host and the guest: fuel"
    assert "move bytes as stream<u8>" in trap("w", "f", copied).render()
