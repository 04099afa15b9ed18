"""What the shell offers while an argument is typed. Loaded by the commands that take a server's command."""

from restbroker.connectors import registry


def command_names(incomplete: str) -> list[str]:
    """The newest catalogues' commands that begin like this; the configuration is not asked, since it may be broken."""
    names = {name for kind in registry.KINDS for name in registry.catalogue(kind).commands}
    return sorted(name for name in names if name.startswith(incomplete))


def code_names(incomplete: str) -> list[str]:
    """The codes that `explain-error` knows and that begin like this."""
    from restbroker.cli import codes

    return [name for name in codes.names() if name.casefold().startswith(incomplete.casefold())]
