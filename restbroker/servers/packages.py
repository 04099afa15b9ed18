"""The packages that bring kinds of servers: restbroker itself, and those that others install beside it.

The registry calls this. Other packages name their kinds as entry points of the group `restbroker.servers`. A kind is a
module that has the parts in `PARTS`, or a package whose modules have them. Always holds: that group is read when a kind
is needed that is none of ours, and not before, since that takes 60 ms; anything wrong with a package is a `ConfigError`
that names it.
"""

import traceback
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

from restbroker.errors import ConfigError
from restbroker.job.reason import Reason
from restbroker.light import frozen

CONTRACT_VERSION: Final = 1
"""The version of the contract with kinds of other packages (`contract`); it rises with a change that they must follow.

A kind declares the version that it was written for as its own `CONTRACT_VERSION`.
"""


@frozen
class Part:
    """One part of a kind: `offers` is the name that it must have; `required` says that there is no default of it."""

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
"""The parts by the names of the modules that may have them; the docstring of the registry says what each offers."""
_PARTS: Final[Mapping[str, Part]] = MappingProxyType({**PARTS, "ctl": Part("DIALECT")})
"""With the one that our own kinds alone have."""
PRODUCT: Final = "restbroker"
GROUP: Final = "restbroker.servers"
_DEFAULT: Final = "restbroker.servers.default"


@frozen
class Package:
    """A package that brings a kind: `name` and `version` as it is installed, `module` what its entry point names."""

    name: str
    version: str
    module: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def summary(self) -> str:
        """The first line of its module's docstring, "" without one. Raises `ConfigError` if it cannot be imported."""
        return (self._import(self.module).__doc__ or "").strip().partition("\n")[0]

    @property
    def is_xmpp(self) -> bool:
        """Whether the server speaks XMPP: each does, unless the kind's module says `XMPP = False`."""
        return vars(self._import(self.module)).get("XMPP") is not False

    def part(self, name: str) -> ModuleType:
        """Return the module that has the part `name`: of this name in the kind's package, else the kind's own.

        Where it has none and needs none, return that of the defaults. Raise `ConfigError` if it cannot be imported.
        """
        return self._import(self._place(name) or (self.module if _PARTS[name].required else _DEFAULT))

    def load(self, part: str) -> Any:  # noqa: ANN401  each part offers something else
        """Return the class or function that this part must offer (`parts`); raise `ConfigError` if it has none.

        Raise it too if the part cannot be imported.
        """
        module, name = self.part(part), _PARTS[part].offers
        if name not in vars(module):
            raise self._unusable(f"{module.__name__} has no {name}")
        return vars(module)[name]

    def call(self, part: str, *given: object) -> Any:  # noqa: ANN401  as `load`
        """Call the function that this part offers, and return its result.

        Raise `ConfigError` if there is none, and in place of any error that a function of another package raises.
        """
        return self.guarded(PARTS[part].offers, self.load(part), *given)

    def guarded(self, name: str, function: Callable[..., Any], *given: object) -> Any:  # noqa: ANN401  as `load`
        """Call this function of the package, and return its result; raise `ConfigError` as `call` does."""
        try:
            return function(*given)
        except ConfigError:
            raise
        except Exception as error:
            if self.is_ours:
                raise
            bug = self.bug(name, error)
            raise ConfigError(bug.message, bug.hint) from error

    def bug(self, what: str, error: Exception) -> Reason:
        """Return the reason that names an unforeseen error: its class, and the line of the package that raised it.

        Of a group, the first error counts. Its text is left out, since it may hold a secret.
        """
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        place = self._location(error)
        where = f"{self}, {place}" if place else str(self)
        hint = "Please report this." if self.is_ours else f"Please report this to the authors of {self.name}."
        return Reason("Bug", f"{what} failed with {type(error).__name__} ({where}).", hint)

    @property
    def is_ours(self) -> bool:
        """Whether it is restbroker itself."""
        return self.name == PRODUCT

    def _location(self, error: Exception) -> str:
        own = vars(self._import(self.module))
        place = Path(*own.get("__path__", [own["__file__"]]))
        files = ((Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__))
        within = [(file, line) for file, line in files if file.is_relative_to(place)]
        above = place.parents[self.module.count(".")]
        return "".join(f"{file.relative_to(above).as_posix()}:{line}" for file, line in within[-1:])

    def require_usable(self) -> None:
        """Raise `ConfigError` unless the kind was written for this contract, and has all parts that it needs."""
        if not all(part.isidentifier() for part in self.module.split(".")):
            raise self._unusable(f'its entry point names "{self.module}", which is not a valid name of a Python module')
        self._require_contract(vars(self._import(self.module)).get("CONTRACT_VERSION"))
        for name, part in PARTS.items():
            if part.required and not self._place(name):
                raise self._unusable(f"{self.module} has no {part.offers}")

    def _place(self, part: str) -> str:
        """Return the name of the kind's module for this part, which is not imported yet; "" if there is none."""
        own, inner = vars(self._import(self.module)), f"{self.module}.{part}"
        if "__path__" in own and find_spec(inner) is not None:
            return inner
        return self.module if _PARTS[part].offers in own else ""

    def _require_contract(self, version: object) -> None:
        if type(version) is not int:
            raise self._unusable(f"{self.module} does not declare its CONTRACT_VERSION")
        if version != CONTRACT_VERSION:
            older = "restbroker" if version > CONTRACT_VERSION else self.name
            raise ConfigError(
                f"The package {self} was written for version {version} of the contract with kinds of servers; "
                f"this restbroker has version {CONTRACT_VERSION}.",
                f"Install a newer {older}.",
            )

    def _import(self, module: str) -> ModuleType:
        try:
            return import_module(module)
        except (Exception, SystemExit) as error:  # what others wrote may raise anything
            raise self._unusable(f"{module} cannot be imported ({type(error).__name__}: {error})") from error

    def _unusable(self, why: str) -> ConfigError:
        hint = f"Install {self.name} again with all its dependencies, or another version."
        return ConfigError(f"The package {self} cannot be used as a kind of server: {why}.", hint)


@cache
def installed_packages() -> Mapping[str, tuple[Package, ...]]:
    """Return, by kind, the packages that say they bring it, as they were installed when this was first called."""
    from importlib.metadata import entry_points  # slow, and of no use to most commands

    found: dict[str, tuple[Package, ...]] = {}
    for point in entry_points(group=GROUP):
        name, version = ("?", "?") if point.dist is None else (point.dist.name, point.dist.version)
        # Not `point.module`, which raises of a value that is none. What it needs besides stands in brackets.
        module = point.value.partition("[")[0].partition(":")[0].strip()
        found[point.name] = (*found.get(point.name, ()), Package(name, version, module))
    return found


@cache
def package_of(kind: str) -> Package | None:
    """Return the installed package that brings this kind; None if there is none.

    Raise `ConfigError` if it cannot be used, or if there are several.
    """
    match installed_packages().get(kind, ()):
        case ():
            return None
        case (package,):
            package.require_usable()
            return package
        case several:
            raise ambiguous(kind, several, "Uninstall all but one of them.")


def ambiguous(kind: str, packages: tuple[Package, ...], hint: str) -> ConfigError:
    """Return the error of a kind that several packages bring."""
    return ConfigError(f'The kind of server "{kind}" is in several packages: {" and ".join(map(str, packages))}.', hint)
