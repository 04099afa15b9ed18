"""The configuration with which Prosody takes its rosters from restbroker and learns of changes. Pure.

The registry calls `suggest`.
"""

import json
from collections.abc import Iterator

from restbroker.config.target import Target
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.prosody.suggest import listener_lines


def suggest(target: Target, _allowed: AllowedCommands) -> str | None:
    """Return the lines of configuration, with comments; None for a target that never sends Prosody anything."""
    return None if target.is_local else "\n".join(_lines(target))


def _lines(target: Target) -> Iterator[str]:
    yield f"-- Prosody's configuration, for the target {target.name}; after the change: restart Prosody"
    yield "-- The refresh endpoint asks for no login, and can only refresh: the tokens' Allow"
    yield "-- says who may change rosters, which are restbroker's. Let no one else reach the port."
    yield from listener_lines(target)
    yield f"VirtualHost {json.dumps(target.host_header or target.default_host or 'THE VIRTUAL HOST')}"
    yield '    modules_disabled = { "roster" }'
    yield '    modules_enabled = { "http_roster_admin", "block_subscriptions" }'
    yield '    storage = { roster = "memory" }'
    yield "    -- Where your rosters are: Roster.Listen and Path, with its login (docs/roster-service.md)."
    yield '    http_roster_url = "http://127.0.0.1:8082/roster/%s?key=ROSTER-KEY"'
