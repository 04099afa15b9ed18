"""How to log in to a target: from `Auth`, or from the URL itself.

Called by `config.check_targets` and `config.flat`. Always holds: exactly one way is chosen, or a problem or a note says
what is missing.
"""

from restbroker.config.problems import Problems, at
from restbroker.config.target import Auth, Basic, Bearer, Credentials, IssuedLogin, Url
from restbroker.config.urls import RestAddress, is_loopback


def login(auth: Auth | None, address: RestAddress, place: str, problems: Problems) -> Credentials:
    """Return the credentials of an entry of `Targets` at `place`; None if it has none, or a problem was added."""
    where = at(place, "Auth")
    if auth is None:
        if address.credentials is not None:
            hint = "Use Auth with Basic and PassFile, so that the URL can be shown."
            problems.note("LoginInURL", f"The login is taken from {problems.as_written(at(place, 'URL'))}.", hint)
        return address.credentials
    if address.credentials is not None:
        message = f"{where} is used, not the login in {problems.as_written(at(place, 'URL'))}."
        problems.note("LoginInURL", message, "Remove it from the URL.")
    match auth:
        case Auth(basic=Basic() as basic):
            return basic.check(at(where, "Basic"), problems)
        case Auth(bearer=Bearer() as bearer):
            return bearer.check(at(where, "Bearer"), problems)
        case Auth(auto=Basic() as auto):
            return issued_login(auto.check(at(where, "Auto"), problems), fallback=True)
        case _:
            problems.refuse(where, "is empty; give exactly one of Basic, Bearer and Auto, or remove it.")
            return None


def note_plain(url: Url, problems: Problems) -> None:
    """Add a note if others can read a login on its way to this URL."""
    if url.scheme == "http" and url.socket is None and not is_loopback(url.host):
        hint = "Use https, or reach the server over loopback."
        problems.note("PlainLogin", f"The login goes unencrypted to {url.origin}.", hint)


def check_name_alone(where: str, user: str, problems: Problems) -> None:
    """Refuse a whole JID at a server that takes only the name of its user.

    Openfire's plugins answer 500 to a whole JID, as a server in trouble does (measured on REST API 1.3.10 and ofchat
    0.9.6).
    """
    if "@" in user:
        problems.refuse(where, "needs the administrator's name alone, such as admin, not a whole JID.")


def issued_login(login: Basic | None, *, fallback: bool) -> IssuedLogin | None:
    """Return the credentials of a target whose server issues tokens for this login; None without a login.

    With `fallback`, the login itself is used where the server issues no tokens.
    """
    return None if login is None else IssuedLogin(login, fallback)
