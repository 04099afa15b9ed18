"""The servers that are installed answer what was recorded of their versions."""

import pytest

from tests.record.__main__ import SERVERS, recorded


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_server_answers_what_was_recorded(server: str) -> None:
    """Each step of the recorded files gets the recorded answers again; `python -m tests.record` writes others down."""
    found = {file.name: (changed, file.read_text("utf-8") == text) for file, text, changed in recorded(server)}
    assert found
    assert {name: of for name, of in found.items() if of != ([], True)} == {}
