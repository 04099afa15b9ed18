"""The keys for Redis and its Sentinels.

Called by `config.core`. Always holds: the URL that comes out names a server even where Sentinel chooses it, since
scheme, user and database are taken from it.
"""

from typing import Annotated, Any

import attrs

from restbroker.config import forms
from restbroker.config.key import key, secret, whole
from restbroker.config.problems import Problems
from restbroker.config.secret import Secret, place_of
from restbroker.config.urls import BadUrl, RedisAddress, redis_address, redis_host
from restbroker.errors import ConfigError
from restbroker.light import frozen

DEFAULT_REDIS = "redis://localhost:6379"


@frozen(kw_only=True)
class Redis:
    """What the operator wrote about Redis and its Sentinels."""

    url: Secret | None = secret("RedisURL", default_shown="redis://localhost:6379/0")
    """redis://[user:password@]host[:port][/database], rediss:// for TLS, unix:///path for a socket; redis://user@host
    with RedisPass or RedisPassFile."""
    host: str | None = key("RedisHost", secret=True, instead_of=("RedisURL", "RedisURLFile"))
    """The older form of RedisURL: host or host:port."""
    database: Annotated[int, whole(0, 999_999)] | None = key("RedisDatabase", shown=0)
    """The database's number."""
    password: Secret | None = secret("RedisPass")
    """The password for Redis."""
    sentinels: forms.Sentinels = key("RedisSentinels", default=())
    """Sentinels that locate Redis; RedisURL gives all but host and port (docs/failover.md)."""
    master: forms.Name | None = key("RedisMaster", mandatory="with RedisSentinels")
    """Sentinel's name for that Redis."""
    sentinel_password: Secret | None = secret("RedisSentinelPass")
    """The Sentinels' own password."""

    def check(self, problems: Problems) -> dict[str, Any]:
        """Return the fields of `Config` about Redis by name; `redis_url` has no password, and is "" after a problem."""
        address = self._address(problems)
        password = problems.try_secret("RedisPass", self.password)
        if address is not None and address.password is not None and password is not None:
            problems.refuse("RedisPass", "is given in addition to a password in RedisURL; keep one of them.")
        sentinel_password = problems.try_secret("RedisSentinelPass", self.sentinel_password)
        self._classify_sentinels(address, problems)
        return {
            "redis_url": "" if address is None else address.url,
            "redis_password": password or (None if address is None else address.password),
            "redis_sentinels": self.sentinels,
            "redis_master": self.master,
            "redis_sentinel_password": sentinel_password,
        }

    def _address(self, problems: Problems) -> RedisAddress | None:
        url = problems.try_secret("RedisURL", self.url)
        if self.url is not None and url is None:
            return None
        try:
            text = redis_host(self.host) if self.host else DEFAULT_REDIS
            text = text if url is None else url.reveal()
            found = redis_address(text, self.database, password_beside=self.password is not None)
            if url is None or url.path is None or found.password is None:
                return found
            return attrs.evolve(found, password=Secret(path=url.path, part=_password_in))
        except BadUrl as bad:
            problems.refuse("RedisHost" if self.host else place_of("RedisURL", self.url), str(bad))
            return None

    def _classify_sentinels(self, address: RedisAddress | None, problems: Problems) -> None:
        if not self.sentinels:
            for place, value in (
                ("RedisMaster", self.master),
                (place_of("RedisSentinelPass", self.sentinel_password), self.sentinel_password),
            ):
                if value is not None:
                    problems.refuse(
                        place, 'is given without RedisSentinels, e.g. ["10.0.0.1:26379"]; give both or neither.'
                    )
            return
        if self.master is None:
            problems.refuse(
                "RedisMaster", "is missing or empty; it is the name under which Sentinel knows the Redis to use."
            )
        if address is None:
            return
        if address.url.startswith("unix:"):
            problems.refuse("RedisURL", "names a socket, but Sentinel gives host and port; use redis:// or rediss://.")
        elif self.host or (address.names_host and self.url is not None):
            problems.note(
                "HostUnused",
                "Host and port of RedisURL are not used: Sentinel names the current Redis.",
                "Leave them out: redis:///0, or rediss:///0 for TLS.",
            )


def _password_in(url: str) -> str:
    """Return the password in a file's URL, which may be another one than at the start. Raise `ConfigError`."""
    try:
        password = redis_address(url).password
    except BadUrl as bad:
        raise ConfigError(f"RedisURLFile: {bad}") from None
    if password is None:
        raise ConfigError("RedisURLFile has no password any more.")
    return password.reveal()
