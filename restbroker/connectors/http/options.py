"""The options that a target of kind `http` takes: what is sent for each command, how it is signed, what answers mean.

The loader makes an instance, which makes `recipes.Settings` of itself: those are the finished target's options. Always
holds: no Trio is loaded here.
"""
# ruff: noqa: RUF009  `key` is attrs.field with a key's facts, not a shared default

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from restbroker.config import values
from restbroker.config.judged import At
from restbroker.config.key import key
from restbroker.config.kinds import MapOf, ObjectOf
from restbroker.config.review import Review
from restbroker.config.target import Target
from restbroker.connectors.http import forms, recipes
from restbroker.rules.json_types import Json

Given = str | tuple[str, str]
"""A secret as written: its text, or where it is ("File" or "Env") and that one's name."""

_NOTHING: Mapping[str, Given] = MappingProxyType({})
_NO_QUERY: Mapping[str, str] = MappingProxyType({})


def _statuses(name: str, meaning: str, *shown: int | str) -> tuple[range, ...]:
    default = tuple(range(int(str(one)[0]) * 100, int(str(one)[0]) * 100 + 100) if isinstance(one, str) else
                    range(one, one + 1) for one in shown)  # fmt: skip
    found: tuple[range, ...] = key(name, forms.statuses(), meaning, default, shown=list(shown))
    return found


@attrs.frozen(kw_only=True)
class CommandKeys:
    """One command."""

    method: str = key("Method", values.choice(*forms.METHODS), "The request's method.", "POST")
    path: str = key("Path", values.text(), "Appended to the target's URL; a template.", "", shown=None)
    query: Mapping[str, str] = key(
        "Query", forms.query(), "What follows the path; each value is a template.", _NO_QUERY, shown=None
    )
    body: Json = key(
        "Body",
        values.anything(),
        "A JSON value whose texts are templates. Without it: an object of the arguments that Path and Query leave.",
    )
    encoding: Literal["json", "form", "none"] | None = key(
        "Encoding",
        values.choice("json", "form", "none"),
        "Of the body. Without it, GET, HEAD and DELETE have none.",
        shown="json",
    )
    headers: Mapping[str, Given] = key(
        "Headers", forms.headers(), "More headers, or others than the target's.", _NOTHING, shown=None, secret=True
    )
    success: tuple[range, ...] = _statuses("Success", "Statuses that mean that it is done.", "2xx")
    retry: tuple[range, ...] = _statuses(
        "Retry", "Statuses after which it is sent again; all others park the job.", 408, 425, 429, 500, 502, 503, 504
    )
    idempotent: bool = key(
        "Idempotent",
        values.switch(),
        "It does no harm to send it twice, since the receiver knows a repetition by `Idempotency-Key` or `webhook-id`,"
        " which are the jid. GET, HEAD, PUT and DELETE need not say so.",
        False,
    )


@attrs.frozen(kw_only=True)
class ProbeKeys:
    """How the target is asked whether it works."""

    method: str = key("Method", values.choice("GET", "HEAD"), "The request's method.", "GET")
    path: str = key("Path", values.text(), "Appended to the target's URL; no template.", "", shown=None)


@attrs.frozen(kw_only=True)
class Options:
    """What is written under `Options`."""

    commands: Mapping[str, CommandKeys] = key(
        "Commands",
        MapOf("commands by name", ObjectOf("object", CommandKeys), forms.COMMAND, "a command's name"),
        "What jobs may ask for; nothing else is sent.",
        MappingProxyType({}),
        shown=None,
        mandatory="always",
    )
    headers: Mapping[str, Given] = key(
        "Headers", forms.headers(), "Headers of every request.", _NOTHING, shown=None, secret=True
    )
    signing: tuple[Given, ...] = key(
        "SigningSecrets",
        forms.secrets(),
        "Sign each request as Standard Webhooks does, with each of these (`whsec_…`); several during a rotation.",
        (),
        shown=None,
        secret=True,
    )
    probe: ProbeKeys | None = key(
        "Probe",
        ObjectOf("object", ProbeKeys),
        "What to ask to see whether the target works and takes the login: 2xx, or 401 and 403. Without it: HEAD of the"
        " URL, where every status below 500 means that it works.",
    )
    allow_private: bool = key(
        "AllowPrivate",
        values.switch(),
        "Connect to addresses of private networks too: loopback, 10.0.0.0/8, link-local, …",
        False,
    )

    def judged(self, target: Target, at: At, review: Review) -> Target:
        """See `config.judged`."""
        settings = recipes.made(self, target, at, review)
        secrets = recipes.secrets_of(settings)
        return attrs.evolve(target, options=settings, secrets=secrets, public_only=not self.allow_private)
