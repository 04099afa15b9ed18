"""What a server can do: commands, their arguments, and a server's catalogue of them.

Used by connectors (which bring a catalogue), the worker (which makes a `Call` of a job) and the command line. Always
holds: a catalogue is facts about a server version; what to do with them is decided elsewhere.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.light import frozen, frozen_plain

Repeat = Literal["safe", "already_done", "unsafe"]
"""May a command be sent again when the first sending may have run?

`safe`: yes, the effect is the same. `already_done`: yes, the server then says so (409 of `register`). `unsafe`: it
would happen twice (a message).
"""

ValueType = Literal["string", "integer", "list", "any"]

HostSource = Literal["host", "jid", "jids", "name"]
"""How an argument says which virtual host a command is about.

`host`: it is one. `jid`: one JID, whose domain it is. `jids`: JIDs in a list, in objects, or in one text. `name`: a
name of something on a host that another argument names; with an `@` it is a JID.
"""

DANGEROUS = "dangerous:"
"""The prefix of the tags that say what of the server itself a command touches."""


@frozen(cache_hash=True)
class ArgumentSpec:
    """One named argument. `secret`: its value never reaches logs, pages or messages.

    `host_source`: how it says which virtual host the command is about; None if it does not. `optional`: it may be left
    out. `nonempty`: it must not be empty, as a password that an account gets.
    """

    name: str
    type: ValueType
    secret: bool = False
    aliases: tuple[str, ...] = ()
    element: Literal["string", "object"] | None = None
    """What a list holds; None unless `type` is "list"."""
    host_source: HostSource | None = None
    optional: bool = False
    nonempty: bool = False


@frozen(cache_hash=True)
class CommandSpec:
    """One command of one server version.

    `result` is the name of the result's shape in the server's own catalogue (ejabberd: `rescode`, `restuple`, …).
    `fields`: name and type of each part of the result, or of each item of its list, in the server's order, where that
    matters. `api_version` is the version of the command's interface (ejabberd: 0 to 3). `fills_host` and `fills_user`:
    the command takes these although its arguments do not list them (ejabberd's policy `user`). `beyond`: it may reach
    other hosts than its arguments name. `takes_more`: it takes any further arguments of a job. `timeout_s`: how long it
    may take, where that is longer than the target's time-out. `bare`: the argument that a job may send as a bare list
    of texts in the place of all (`["refresh", ["john"]]`). `unanswered`: code and hint of a job that was sent and not
    answered, where the command has its own. `dangerous_in`: what of the server itself a job touches by its arguments,
    as `Catalogue.dangerous_in` says it of endpoints. `others`: the forms of other versions, the newest first, if it is
    not known exactly which version the server is.
    """

    name: str
    arguments: tuple[ArgumentSpec, ...]
    repeat: Repeat
    tags: frozenset[str] = frozenset()
    result: str = ""
    api_version: int = 0
    fills_host: bool = False
    fills_user: bool = False
    secret_result: bool = False
    beyond: bool = False
    takes_more: bool = False
    timeout_s: float | None = None
    since: str | None = None
    bare: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    unanswered: Reason | None = None
    dangerous_in: Callable[[Mapping[str, Json]], Mapping[str, frozenset[str]]] | None = None
    others: tuple["CommandSpec", ...] = ()

    def argument(self, name: str) -> ArgumentSpec | None:
        """Return the argument of this name or alias; None if the command has none."""
        return next((a for a in self.arguments if name == a.name or name in a.aliases), None)


def repeat_safe(spec: CommandSpec | None) -> bool:
    """Tell whether sending a command twice does no harm; False for a command outside the catalogue."""
    return spec is not None and spec.repeat != "unsafe"


@frozen
class DangerousCommands:
    """Names of commands, of any version, that touch what `word` says: files, cluster, database, code, server."""

    word: str
    names: re.Pattern[str]


@frozen
class Catalogue:
    """The commands of one server version. `version` is the server's own text, e.g. "24.12".

    `dangerous` holds for every version: a server may have commands that are newer than what is known of it. That is not
    so for one whose catalogue `is_whole`: there is no command besides these. `is_dotted`: its names have a dot
    (MongooseIM's `account.registerUser`), for which a slash may stand.
    """

    version: str
    commands: Mapping[str, CommandSpec]
    dangerous: tuple[DangerousCommands, ...] = ()
    is_whole: bool = False
    unavailable: Mapping[str, str] = MappingProxyType({})
    """Commands that are not sent to this target though people know them, each with what to do, as a sentence."""
    is_dotted: bool = False

    def name_in(self, endpoint: str) -> str:
        """Return the command's name in an endpoint, which may say more behind it (ejabberd's `register/v1`)."""
        return endpoint.replace("/", ".") if self.is_dotted else endpoint.partition("/")[0]

    def dangerous_in(self, endpoint: str) -> Mapping[str, frozenset[str]]:
        """Return each segment that is a dangerous command's name, as it was written, with what that command touches.

        Each segment counts: which one is the command is the server's choice (`register/v1`, but also `v1/register`).
        """
        segments = [self.name_in(endpoint)] if self.is_dotted else endpoint.split("/")
        found = {segment: self._words_of(segment.lower().replace("-", "_")) for segment in segments}
        return {segment: words for segment, words in found.items() if words}

    def _words_of(self, name: str) -> frozenset[str]:
        return frozenset(danger.word for danger in self.dangerous if danger.names.fullmatch(name))


@frozen_plain
class Command:
    """A job's command and its arguments. `endpoint` is checked and safe to put into a path (see `job.endpoint`)."""

    endpoint: str
    arguments: Mapping[str, Json]


@frozen_plain
class Call:
    """One delivery of a command.

    `attempt` counts deliveries from 1; `maybe_run` says that an earlier sending may have been executed. `host` is what
    a missing `host` argument becomes; None leaves it missing. `headers` are passed on as they are. `ok_if_exists`: a
    create that finds its object counts as done. `identity` names the command to the server, the same for each attempt
    (`Job.identity`).
    """

    command: Command
    attempt: int = 1
    maybe_run: bool = False
    host: str | None = None
    timeout_s: float = 10.0
    ok_if_exists: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    identity: str = ""
