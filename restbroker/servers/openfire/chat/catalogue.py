"""The commands of Openfire's Chat API: those of the last source of ofchat.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; a user is
named by `from` wherever a command acts as one.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, Literal

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, ArgumentSpec, Catalogue, CommandSpec, Danger, Place, ValueType
from restbroker.job.outcome import Reason
from restbroker.servers.openfire.chat import ways as known
from restbroker.servers.openfire.chat.bodies import Form
from restbroker.servers.openfire.chat.options import Options, Paths
from restbroker.servers.openfire.chat.ways import Way

_VERSION: Final = "ofchat 0.9"
_TYPES: Final[dict[Form, ValueType]] = {
    "either": "any",
    "flag": "any",
    "properties": "any",
    "scalar": "any",
    "subscription": "any",
    "texts": "list",
    "value": "any",
    "whole": "integer",
}
"""All others are texts."""
_PLACES: Final[dict[Form, Place]] = {"jid": "jid", "user": "name"}
_DANGERS: Final = (
    # The server as a whole: its properties hold passwords, the shared secret and who its admins are.
    Danger("server", re.compile(".*_system_propert(y|ies)")),
)
_SECRET_RESULTS: Final = frozenset(
    {
        *("list_system_properties", "get_system_property", "get_client_certificate", "totp_enroll"),
        *("list_sip_accounts", "get_sip_account", "get_sip_account_by_extension", "request_upload_slot"),
    }
)
_SECRETS: Final = frozenset({"password", "totp", "secret", "subscription"})
_PROPERTY_VALUES: Final = frozenset({"create_system_property", "update_system_property"})
# It may wait for an agent still, and nobody would take a second one for the same.
_ASK_UNANSWERED: Final = Reason(
    "AskUnanswered", "", "ask_status tells how it stands, ask_revoke takes the question back; a retry asks once more."
)
_BEYOND: Final = re.compile("send_xmpp|legacy_userservice.*|broadcast_message|notify_.*|send_blast|send_(sms|email)")
"""What they say goes to whomever they are told, or to all."""


def for_version(_version: str | None) -> Catalogue:
    """All of them."""
    return _known("source")


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """All of them, with what the target's `Paths` have each take."""
    return _known(target.options_as(Options).paths)


def requests() -> Mapping[str, str]:
    """What each command sends, below `/rest/api/restapi/v1`."""
    prefix = "/restapi/v1"
    return {way.name: f"{way.method} {way.path.removeprefix(prefix)}" for way in known.ways("source").values()}


@lru_cache(maxsize=2)
def _known(paths: Paths) -> Catalogue:
    commands = {way.name: _spec(way) for way in known.ways(paths).values()}
    return Catalogue(_VERSION, commands, _DANGERS, is_whole=True)


def _spec(way: Way) -> CommandSpec:
    dangers = {DANGEROUS + danger.word for danger in _DANGERS if danger.names.fullmatch(way.name)}
    said = {"documented"} if way.documented else {"untested"} if way.family in known.UNTESTED else set()
    return CommandSpec(
        name=way.name,
        arguments=tuple(_arguments(way)),
        repeat=way.repeat,
        tags=frozenset({way.family, *dangers, *said}),
        result=way.answer,
        secret_result=way.name in _SECRET_RESULTS,
        beyond=_BEYOND.fullmatch(way.name) is not None,
        timeout_s=known.LONG_S.get(way.name),
        unanswered=_ASK_UNANSWERED if way.name == known.ASK else None,
    )


def _arguments(way: Way) -> Iterator[ArgumentSpec]:
    elements: dict[Form, Literal["string"]] = {"texts": "string"}
    for name, form in way.forms.items():
        yield ArgumentSpec(
            name,
            _TYPES.get(form, "string"),
            secret=name in _SECRETS or (name == "value" and way.name in _PROPERTY_VALUES),
            aliases=tuple(other for other, argument in way.aliases.items() if argument == name),
            element=elements.get(form),
            place=_PLACES.get(form),
            optional=name not in way.needs,
        )
