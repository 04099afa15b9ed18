"""What a server's catalogue does not say of its commands: which may be repeated, are secret, slow or dangerous.

Each kind has its own in `attributes.toml`, which its catalogue, its requests and its judge read. Always holds: a
command that is named nowhere there counts as unsafe to repeat; a `*` in a name stands for any text.
"""

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from restbroker.job.command import DANGEROUS, DangerousCommands, Repeat
from restbroker.light import field, frozen
from restbroker.servers.api.texts import read_toml

_SECRET: Final = re.compile(r"pass|secret|token", re.IGNORECASE)
_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


@frozen(eq=False, kw_only=True)
class Attributes:
    """The attributes of one kind's commands; in `repeat` and `timeout_s`, the first line that matches counts.

    `timeout_s`: commands by seconds; 0: the target's time-out fits. `dangerous`: commands, of every version, by what of
    the server itself they touch. `filled`: a command and an argument that must not be empty, as a password that an
    account gets. `secret`: commands whose answer is a credential. `beyond`: those that may reach other hosts than their
    arguments name. `already`: by command, what the server says if the work was done before. `creates`: commands whose
    object may be there already; a job may ask that this counts as done. `questions`: by command, what of its answer is
    its "no". `messages`, `types`: commands that send a message, by the argument that names its receiver, and with the
    `type` of the stanza that it could be as well.
    """

    repeat: Mapping[Repeat, Collection[str]]
    timeout_s: Mapping[str, Collection[str]]
    dangerous: Mapping[str, Collection[str]]
    filled: Collection[str]
    secret: Collection[str]
    beyond: Collection[str]
    already: Mapping[str, str]
    creates: Collection[str]
    questions: Mapping[str, str]
    messages: Mapping[str, str] = _NO_NAMES
    types: Mapping[str, str] = _NO_NAMES
    dangers: tuple[DangerousCommands, ...] = field(init=False)
    """The dangerous commands; the patterns match names in lower case, as a catalogue looks them up."""

    @dangers.default
    def _dangers(self) -> tuple[DangerousCommands, ...]:
        # Asked for every job: one plain alternative is found faster than fnmatch's own patterns.
        return tuple(
            DangerousCommands(
                word, re.compile("|".join(re.escape(name.lower()).replace(r"\*", ".*") for name in names))
            )
            for word, names in self.dangerous.items()
        )

    @classmethod
    def beside(cls, module: str) -> "Attributes":
        """Return those of the file beside this module, which is given as its `__file__`."""
        return cls(**read_toml(module, "attributes.toml"))

    def repeat_of(self, command: str) -> Repeat:
        """Return whether the command may be sent again when it may have run; "unsafe" if nothing is known of it."""
        return next((repeat for repeat, names in self.repeat.items() if _matches(command, names)), "unsafe")

    def timeout_of(self, command: str) -> float | None:
        """Return the command's own time-out in seconds; None if the target's time-out fits."""
        return next(
            (float(wait_s) or None for wait_s, names in self.timeout_s.items() if _matches(command, names)), None
        )

    def has_secret_result(self, command: str) -> bool:
        """Tell whether the command's answer is a credential."""
        return _matches(command, self.secret)

    def reaches_beyond(self, command: str) -> bool:
        """Tell whether the command may reach other hosts than its arguments name."""
        return _matches(command, self.beyond)

    def must_be_filled(self, command: str, argument: str) -> bool:
        """Tell whether the argument must not be empty."""
        return f"{command} {argument}" in self.filled

    def tags_of(self, command: str) -> frozenset[str]:
        """Return the tags that say what of the server itself the command touches."""
        return frozenset(DANGEROUS + danger.word for danger in self.dangers if danger.names.fullmatch(command.lower()))


def is_secret_argument(name: str) -> bool:
    """Tell whether values under this name are kept out of logs and messages."""
    return _SECRET.search(name) is not None


def _matches(command: str, names: Collection[str]) -> bool:
    # Most names have no wildcard, or begin in another way; fnmatch compiles each.
    near = (name for name in names if "*" in name and command.startswith(name[: name.index("*")]))
    return command in names or any(fnmatchcase(command, name) for name in near)
