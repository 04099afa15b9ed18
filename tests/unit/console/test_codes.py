"""What the codes of failed jobs say to do first."""

import pytest

from restbroker.console import codes


@pytest.mark.parametrize(
    ("code", "step"),
    {
        "BadArguments": "delete",
        "UnknownCommand": "edit",
        "BadExpiry": "delete",
        "NotTheApi": "retry",
        "": "retry",
    }.items(),
)
def test_a_retry_that_must_fail_again_is_never_first(code: str, step: str) -> None:
    """A job that is wrong itself is edited, or deleted where an edit cannot help; else the cause lies outside it."""
    assert codes.first_step(code) == step


def test_only_codes_of_jobs_have_a_first_step_and_it_is_one() -> None:
    rows = [(table["what"], texts[3:]) for table in codes.tables() for texts in table["rows"].values()]
    assert {step for what, found in rows for step in found if " job" in what} == {"edit", "delete"}
    assert not [what for what, found in rows if found and " job" not in what]
