"""What is told of a target has none of its secrets."""

from pathlib import Path

import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Bearer, Target
from restbroker.config.target_secrets import remove_secrets


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
def test_a_secret_that_was_replaced_or_is_gone_by_now_is_masked_as_it_was_sent(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-first-key\n")
    target = Target(secrets=(Secret(path=file),), credentials=Bearer(Secret("a-token")))
    assert remove_secrets("the-first-key, a-token", target) == "***, ***"
    file.write_text("the-second-key\n")
    assert remove_secrets("the-first-key, the-second-key", target) == "***, ***"
    file.unlink()
    assert remove_secrets("the-second-key", target) == "***"
    assert remove_secrets(None, target) is None
