"""Records of what several requests are done in at once."""

from __future__ import annotations

from wasmplex.logs import Origin, SharedOrigin, origin


class Request(Origin):
    @property
    def named(self) -> tuple[str, str, str, str]:
        return "id", "", "", self.workload


def test_records_are_those_of_the_only_request() -> None:
    shared, one, other = SharedOrigin("shop"), Request("shop"), Request("shop")
    assert shared.named == ("", "", "", "shop")
    with one:
        shared.add(one)
        assert shared.named == ("id", "", "", "shop")
        with other:
            shared.add(other)
            assert shared.named == ("", "", "", "shop")
        assert shared.named == ("id", "", "", "shop")
    assert shared.named == ("", "", "", "shop")
    shared.add(None)


def test_it_has_a_context_of_its_own() -> None:
    shared = SharedOrigin("shop")
    with Request("shop") as request:
        assert shared.context().run(origin) is shared
        assert origin() is request
