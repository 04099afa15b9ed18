"""A secret that cannot be printed by accident, from the configuration itself or from a file.

Always holds: `repr` and `str` never show the value; a secret from a file is read anew at each `reveal`, so that a
rotated file counts without a restart; an empty file is no secret (a shell empties a file before it writes it).
"""

from pathlib import Path

import attrs

from restbroker.config.files import text_of
from restbroker.errors import ConfigError


@attrs.frozen(repr=False)
class Secret:
    """Exactly one of `value` and `path` is set."""

    value: str | None = None
    path: Path | None = None

    def __repr__(self) -> str:
        return "Secret(…)" if self.path is None else f"Secret(path={str(self.path)!r})"

    def reveal(self) -> str:
        """The secret's text, a file's without its final line break.

        Raises `ConfigError` if the file cannot be read or is blank.
        """
        if self.path is None:
            return self.value or ""
        try:
            text = text_of(self.path, "utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(
                f"The secret file {self.path} cannot be read: {why}.",
                "Check that the file exists and that the user restbroker runs as may read it.",
            ) from error
        if not text.strip():
            raise ConfigError(f"The secret file {self.path} is empty.", "Put the secret into it, on one line.")
        return text
