"""Who may see the web pages. Called by `config.build`.

Always holds: pages that others can reach have a login, or nothing is started.
"""

from restbroker.config.keys import Keys
from restbroker.config.review import Review
from restbroker.config.target import Basic
from restbroker.config.urls import is_loopback

_CURE = "give StatsUser and StatsPassFile, or use a loopback address with a reverse proxy in front of it"


def build_login(keys: Keys, review: Review) -> Basic | None:
    """The pages' login; None where none is configured, or there is a problem in `review`."""
    password = review.secret("StatsPass", keys.stats_pass, keys.stats_pass_file)
    has_password = keys.stats_pass is not None or keys.stats_pass_file is not None
    open_to_others = not is_loopback(keys.stats_bind)
    if keys.stats and open_to_others and keys.stats_user is None and not has_password:
        review.refuse("StatsBind", f"{keys.stats_bind} is open to others, and the pages have no login; {_CURE}.")
    elif keys.stats_user is None and has_password:
        review.refuse("StatsUser", "is missing or empty, although StatsPass is given.")
    elif keys.stats_user is not None and not has_password:
        review.refuse("StatsPass", "is missing or empty, although StatsUser is given (or use StatsPassFile).")
    elif keys.stats_user is not None and ":" in keys.stats_user:
        review.refuse("StatsUser", "must not hold a colon, which HTTP Basic cannot carry.")
    elif keys.stats and open_to_others:
        review.note(
            "PlainPages",
            f"The login of the pages on {keys.stats_bind} goes unencrypted.",
            "Listen on a loopback address, with a reverse proxy with TLS in front of it.",
        )
    return None if keys.stats_user is None or password is None else Basic(keys.stats_user, password)
