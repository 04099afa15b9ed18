"""The secrets of tokens, which must not be shown; used by commands that show jobs."""

from restbroker.config.core import Config


def tokens(settings: Config) -> frozenset[str]:
    """Return the secrets of all tokens, which must not be shown; raise `ConfigError` if a file is unreadable."""
    return frozenset(secret.reveal() for token in settings.tokens for secret in token.secrets)
