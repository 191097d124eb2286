"""How far apart the ticks are that end the time slices of guests."""

from wasmplex.engine.ticker import CALM_TICK_SECONDS, HURRIED_TICK_SECONDS, TICK_SECONDS, Tempo


def test_ticks_are_short_for_a_while_when_a_guest_runs_on() -> None:
    tempo = Tempo()
    found = [tempo.next(CALM_TICK_SECONDS, pressed=True, hurried=False)]
    while found[-1] != CALM_TICK_SECONDS:
        found.append(tempo.next(found[-1], pressed=False, hurried=False))
    assert set(found[:-1]) == {TICK_SECONDS}
    assert len(found) > 20


def test_ticks_are_shorter_while_others_come_between() -> None:
    tempo = Tempo()
    assert tempo.next(CALM_TICK_SECONDS, pressed=False, hurried=True) == CALM_TICK_SECONDS, "nobody runs on"
    found = [tempo.next(CALM_TICK_SECONDS, pressed=True, hurried=True)]
    while found[-1] != TICK_SECONDS:
        found.append(tempo.next(found[-1], pressed=True, hurried=False))
    assert set(found[:-1]) == {HURRIED_TICK_SECONDS}
    assert len(found) > 500
