"""What the shell offers while an argument is typed. Loaded by the commands that take a server's command."""

from restbroker.connectors.ejabberd.catalogue import for_version


def command_names(incomplete: str) -> list[str]:
    """The newest catalogue's commands that begin like this; the configuration is not asked, since it may be broken."""
    return [name for name in for_version(None).commands if name.startswith(incomplete)]
