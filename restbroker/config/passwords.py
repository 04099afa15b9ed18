"""A private file of passwords, with a line `user:password` for each user.

Used by kinds of targets and of sources that log users in with their own passwords. Always holds: the file is read again
each time, and no error shows a line of it.
"""

from collections.abc import Mapping

from restbroker.config.problems import Problems
from restbroker.config.secret import Secret
from restbroker.config.values import without_logins
from restbroker.errors import ConfigError
from restbroker.job.jid import fold_case


def passwords_in(secret: Secret) -> Mapping[str, str]:
    """Return the password of each user: name (the local part, folded) → password.

    Empty lines and those that begin with `#` are skipped. Raise `ConfigError` if the file cannot be read, another line
    is not of the form `user:password`, or a user occurs twice.
    """
    found: dict[str, str] = {}
    file = f"the file of passwords {without_logins(str(secret.path))}"
    for number, line in enumerate(secret.reveal().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        name = fold_case(user.partition("@")[0].strip())
        if not colon or not name or not password:
            message = f"Line {number} of {file} is not of the form user:password."
            raise ConfigError(message, "Write each user's name, a colon and their password on a line.")
        if name in found:
            message = f"Line {number} of {file} repeats a user."
            raise ConfigError(message, "Leave one line for each user.")
        found[name] = password
    return found


def check_passwords(written: Secret | None, place: str, problems: Problems) -> Secret | None:
    """Return the file of passwords that `place` names, after reading it once; None if there is none.

    None also if it cannot be used, which becomes a problem in `problems`.
    """
    if written is None or written.path is None:
        return None
    passwords = Secret(path=problems.base / written.path)
    try:
        passwords_in(passwords)
    except ConfigError as error:
        problems.refuse(place, error.message)
        return None
    return passwords
