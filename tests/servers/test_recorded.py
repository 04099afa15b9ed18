"""What restbroker makes of what real servers were recorded to answer; `tests/golden/recorded.py` does it."""

import pytest

from tests.golden.parts import DATA, RECORDED


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_requests_are_sent_again_and_what_becomes_of_each_real_answer_is_as_written_down(
    name: str,
) -> None:
    assert RECORDED[name]().splitlines() == (DATA / name).read_text("utf-8").splitlines()


def test_each_recorded_file_is_compared_and_nothing_else_is_written_down() -> None:
    written = {str(file.relative_to(DATA)) for file in (DATA / "recorded").rglob("*.txt")}
    assert written == set(RECORDED)
    assert len({name.rpartition("/")[0] for name in RECORDED}) == 5
