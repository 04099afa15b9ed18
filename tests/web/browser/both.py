"""The mark of files whose every test holds for browsers with and without JavaScript."""

import pytest

with_and_without_scripts = pytest.mark.parametrize("has_scripts", [True, False], ids=["with scripts", "without"])
