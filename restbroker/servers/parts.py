"""The parts of a kind of server: a package with a module for each. Public, as `servers.contract` is.

The registry looks for these, in our own folders and in the packages of others. Always holds: for a part that a kind
leaves out, that of `servers.default` is used; nothing but attrs is loaded here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

CONTRACT_VERSION: Final = 1
"""The version of the contract; it rises with a change that kinds have to follow.

A package declares the version that it was written for as its own `CONTRACT_VERSION`.
"""


@attrs.frozen
class Part:
    """One module of a kind: `offers` is the name that it must have; `required` says that there is no default of it."""

    offers: str
    required: bool = False


PARTS: Final[Mapping[str, Part]] = MappingProxyType(
    {
        "options": Part("Options"),
        "catalogue": Part("for_version", required=True),
        "connector": Part("open_connector", required=True),
        "check": Part("check"),
        "suggest": Part("suggest"),
    }
)
"""The parts by name; the docstring of the registry says what each offers."""
