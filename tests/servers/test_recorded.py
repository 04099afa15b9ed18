"""What restbroker makes of what real servers were recorded to answer; `tests/golden/recorded.py` does it."""

import pytest

from tests.golden.parts import DATA, RECORDED


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_requests_are_resent_with_recorded_outcomes(
    name: str,
) -> None:
    assert RECORDED[name]().splitlines() == (DATA / name).read_text("utf-8").splitlines()


def test_each_recorded_file_is_compared_and_there_is_no_other() -> None:
    written = {str(file.relative_to(DATA)) for file in (DATA / "recorded").rglob("*.txt")}
    assert written == set(RECORDED)
    assert len({name.rpartition("/")[0] for name in RECORDED}) == 5
