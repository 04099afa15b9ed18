"""The options that a target of kind `prosody-rest` takes: the modules beside mod_rest, and how long an iq may take.

The loader makes an instance, which makes `settings.Settings` of itself: those are the finished target's options. Always
holds: no Trio is loaded here.
"""

import re
from typing import Annotated, ClassVar, Final

import attrs

from restbroker.config import forms
from restbroker.config.form import Items, word
from restbroker.config.key import key, secret
from restbroker.config.kind import At, note_no_login, with_broadcasts
from restbroker.config.logins import tell_plain
from restbroker.config.review import Review
from restbroker.config.secret import Secret
from restbroker.config.target import Issued, Target, check_bearer
from restbroker.config.urls import BadUrl, rest_address
from restbroker.servers.prosody.settings import Place, Settings, admin_place, msg_place, own, rest_place
from restbroker.servers.prosody.ways import Api

_BROADCAST: Final = "announcement"
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


@attrs.frozen(kw_only=True)
class Options:
    """What is written under `Options`."""

    USUAL_URL: ClassVar[str] = "http://127.0.0.1:5280/rest"

    admin_url: str | None = key(
        "AdminURL",
        "Where mod_http_admin_api is, for announcements, invites and users; of the same server and port as URL.",
    )
    admin_token: Secret | None = secret(
        "AdminToken", "The bearer token for it, where Auth has none or another.", "A file that holds that token."
    )
    msg_url: str | None = key(
        "MsgURL",
        "Where mod_post_msg is, for the command `msg`; of the same server and port as URL. Needs Auth with Basic.",
    )
    iq_timeout: forms.Duration | None = key(
        "IqTimeout", "How long an iq may take, where that is longer than RequestTimeout. mod_rest waits 300 s at most."
    )
    fields: Annotated[
        tuple[str, ...],
        Items("list of names", 'a list of names such as ["receipt"]', word("name", _FIELD, "a member's name")),
    ] = key(
        "Fields",
        "Members of stanzas that your mod_rest knows and restbroker does not: it refuses others, since mod_rest leaves"
        " them out without a word.",
        (),
        shown=None,
    )

    def check(self, target: Target, at: At, review: Review) -> Target:
        """See `config.kind`."""
        if isinstance(target.credentials, Issued):
            review.refuse(at("Auth"), "asks for tokens that the server issues, as ejabberd does; use Basic or a token.")
        elif target.credentials is None:
            cure = f"Give {at('Auth')}: mod_rest takes an account's password, or a token."
            note_no_login(target, cure, review)
        place = at("Options")
        token = review.try_secret(f"{place}.AdminToken", self.admin_token)
        check_bearer(f"{place}.AdminToken", token, review)
        if token is not None and target.credentials is None:
            tell_plain(target.url, review)
        places: dict[Api, Place] = {"rest": rest_place(target)}
        if (path := _path(self.admin_url, target, f"{place}.AdminURL", review)) is not None:
            if (admin := admin_place(target, path, token)) is None:
                review.refuse(f"{place}.AdminToken", "is missing: mod_http_admin_api takes bearer tokens alone.")
            else:
                places["admin"] = admin
        elif token is not None and self.admin_url is None:
            review.refuse(f"{place}.AdminURL", "is missing; AdminToken is for it.")
        if (path := _path(self.msg_url, target, f"{place}.MsgURL", review)) is not None:
            if (msg := msg_place(target, path)) is None:
                review.refuse(
                    f"{place}.MsgURL", f"needs {at('Auth')} with Basic, and the account's domain in User or Domain."
                )
            else:
                places["msg"] = msg
        return attrs.evolve(
            target,
            options=Settings(places, own(target), self.iq_timeout, self.fields),
            secrets=() if token is None else (token,),
            at_most_once=with_broadcasts(target.at_most_once, _BROADCAST),
        )


def _path(written: str | None, target: Target, place: str, review: Review) -> str | None:
    """The path of another API on the target's server."""
    if written is None:
        return None
    try:
        address = rest_address(written)
    except BadUrl as bad:
        review.refuse(place, str(bad))
        return None
    if address.credentials is not None:
        review.refuse(place, "has a login in it; take that out.")
    elif (address.url.origin, address.url.socket) != (target.url.origin, target.url.socket):
        review.refuse(place, f"is not on {target.url.origin}, where URL is; make a target of its own for it.")
    else:
        return address.url.path
    return None
