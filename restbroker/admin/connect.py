"""From the configuration to the store. Used by the command line's commands; assembly takes the settings from here."""

from restbroker.config.core import Config
from restbroker.store.client import Client, StoreSettings, open_client


def store_settings(config: Config, client_name: str = "restbroker") -> StoreSettings:
    """The store's settings; `client_name` is what `CLIENT LIST` shows."""
    return StoreSettings(
        url=config.redis_url,
        namespace=config.namespace,
        password=config.redis_password,
        client_name=client_name,
        sentinels=config.redis_sentinels,
        master=config.redis_master,
        sentinel_password=config.redis_sentinel_password,
    )


def open_store(config: Config, timeout_s: float = 3.0) -> Client:
    """A client that connects when first used; the caller closes it. `timeout_s` bounds connecting, and each answer."""
    return open_client(store_settings(config, "restbroker-cli"), timeout_s)
