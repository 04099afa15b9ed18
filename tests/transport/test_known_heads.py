"""What is read without parsing its head again is what the strict reader makes of it, or nothing."""

import pytest

from restbroker.transport.answer import KnownHeads, Rest
from tests.transport.answers import SHAPES, Shape


@pytest.mark.parametrize("shape", [one for one in SHAPES if one.method == "POST"], ids=lambda shape: shape.name)
def test_an_answer_is_plain_only_if_it_is_whole_and_keeps_its_connection(shape: Shape) -> None:
    heads = KnownHeads()
    for size in range(0, len(shape.raw), max(1, len(shape.raw) // 500)):
        assert isinstance(heads.read(shape.raw[:size]), Rest), shape.raw[:size]
    for _ in range(2):  # its head is new, then known
        match heads.read(shape.raw):
            case Rest():
                pass
            case plain:
                assert shape.whole == (*plain, True)


def test_each_answer_with_a_length_is_plain() -> None:
    (shape,) = (one for one in SHAPES if one.name == "a length")
    heads = KnownHeads()
    assert heads.read(shape.raw) == (200, b"abc")
    assert heads.read(shape.raw.replace(b"abc", b"xyz")) == (200, b"xyz")
    assert heads.read(shape.raw + b"x") is Rest.ODD


def test_heads_that_never_come_again_do_not_pile_up() -> None:
    heads = KnownHeads()
    for number in range(1000):
        assert heads.read(b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 1\r\n\r\n0" % number) == (200, b"0")
    assert len(heads._known) <= 100  # noqa: SLF001 - a bound that nothing else shows
