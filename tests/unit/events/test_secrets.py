"""What a source's secret is cut out of."""

from typing import Final

import pytest

from restbroker.config.secret import Secret
from restbroker.events.secrets import CurrentSecret, SourceLogin

SECRET: Final = "a-secret-of/two-parts"


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        ("", ""),
        (SECRET, ""),
        ("room/made", "room/made"),
        (f"{SECRET}/room/made", "room/made"),
        (f"{SECRET}/{SECRET}/room", "room"),
        (f"room/{SECRET}", "room"),
        (f"room/{SECRET}/{SECRET}/{SECRET}/made", "room/made"),
        (f"{SECRET}x/room/", f"{SECRET}x/room/"),
    ],
)
async def test_no_part_of_a_path_that_an_event_has_is_the_secret(rest: str, kept: str) -> None:
    login = SourceLogin(CurrentSecret(Secret(SECRET), lambda _: None))
    assert await login.accepts({}, b"", [SECRET])
    assert login.without_secret(rest) == kept
