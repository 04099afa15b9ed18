"""From the configuration to the store. Used by the command line's commands; `app` takes the settings from here."""

from collections.abc import Iterator
from contextlib import contextmanager

from restbroker.config.core import Config
from restbroker.store.client import Client, StoreSettings, open_client


def store_settings(config: Config, client_name: str = "restbroker") -> StoreSettings:
    """Return the store's settings; `client_name` is what `CLIENT LIST` shows."""
    return StoreSettings(
        url=config.redis_url,
        namespace=config.namespace,
        password=config.redis_password,
        client_name=client_name,
        sentinels=config.redis_sentinels,
        master=config.redis_master,
        sentinel_password=config.redis_sentinel_password,
    )


@contextmanager
def open_store(config: Config, timeout_s: float = 3.0) -> Iterator[Client]:
    """Yield a client for one command, which connects when first used; close it at the end.

    `timeout_s` limits the time to connect, and the time of each reply.
    """
    client = open_client(store_settings(config, "restbroker-cli"), timeout_s)
    try:
        yield client
    finally:
        client.close()
