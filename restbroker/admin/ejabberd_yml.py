"""The lines of `ejabberd.yml` that cure what `check` finds. Pure.

Used by `admin.check_ejabberd` and `admin.entry`. Always holds: each is a whole block that ejabberd 23.01 accepts
beside those that are there (tried); under a key that exists already, only the inner lines are added.
"""

import json
from collections.abc import Sequence

from restbroker.config.target import Basic, Bearer, Target, Url


def listen(url: Url) -> str:
    """Where the API is offered: at this URL, on loopback."""
    port = 5281 if url.port in (80, 443) else url.port
    return f"""\
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      {url.path or "/api"}: mod_http_api
modules:
  mod_http_api: {{}}"""


def module(name: str) -> str:
    """Loads this module."""
    return f"modules:\n  {name}: {{}}"


def permissions(target: Target, commands: Sequence[str]) -> str:
    """Lets the target's login call these commands."""
    match target.credentials:
        case Basic(user, _):
            who = f"      access:\n        - allow:\n          - user: {json.dumps(user)}"
        case Bearer():
            inner = 'access:\n          - allow:\n            - user: "THE TOKEN\'S ACCOUNT"'
            who = f'      oauth:\n        - scope: "ejabberd:admin"\n        - {inner}'
        case _:
            address = "127.0.0.1/32" if target.url.host in ("127.0.0.1", "localhost") else "THIS MACHINE'S ADDRESS"
            who = f'      ip: "{address}"'
    return f'api_permissions:\n  "restbroker":\n    who:\n{who}\n    what: {json.dumps(list(commands))}'
