"""The lines of `ejabberd.yml` that a source of kind `ejabberd-component` needs. Pure.

`events.registry` calls `suggest`. Always holds: the lines are whole blocks that ejabberd 23.01 accepts (tried); the
password is not among them.
"""

from typing import Final

from restbroker.config.events import EventSource
from restbroker.config.urls import is_loopback
from restbroker.servers.component.options import Options

_TLS: Final = """
    tls: true
    certfile: "A FILE WITH KEY AND CERTIFICATE OF {host}\""""
_LINES: Final = """\
# ejabberd.yml, for the source {source}; after the change: ejabberdctl reload_config
# /etc/hosts where ejabberd runs, so that no copy leaves it while the component is away:
#     127.0.0.1 {name}
# Longer stanzas than MaxStanza ({most}) are no events: give each listener of users
# (ejabberd_c2s, ejabberd_http_ws, mod_bosh) a max_stanza_size of at most {most}.
listen:
  - port: {port}
    ip: "{ip}"
    module: ejabberd_service
    shaper: none{tls}
    # Without this line each of several names gets the stanzas of all.
    global_routes: false
    # Never `password:` alone, which lets in any name.
    hosts:
      "{name}": {{password: "THE PASSWORD"}}
modules:
  mod_service_log: {{loggers: ["{name}"]}}"""


def suggest(source: EventSource) -> str:
    """Return the lines, with comments that say what to know about them."""
    options = source.options
    assert isinstance(options, Options)  # noqa: S101  as its options judged it
    host, port = options.address
    return _LINES.format(
        source=source.name,
        name=options.name,
        most=options.limit_bytes,
        port=port,
        ip=host if is_loopback(host) and host != "localhost" else "THE ADDRESS",
        tls=_TLS.format(host=host) if options.is_tls else "",
    )
