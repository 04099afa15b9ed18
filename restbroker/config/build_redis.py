"""Judges the keys about Redis and its Sentinels.

Called by `config.build`. Always holds: the URL that comes out names a server even where Sentinel chooses it, for
scheme, user and database are taken from it.
"""

import attrs

from restbroker.config.keys import Keys
from restbroker.config.review import Review
from restbroker.config.secret import Secret
from restbroker.config.urls import BadUrl, RedisAddress, redis_address, redis_host

DEFAULT_REDIS = "redis://localhost:6379"


@attrs.frozen
class Redis:
    """Where Redis is, and what opens it. `url` holds no password."""

    url: str
    password: Secret | None
    sentinel_password: Secret | None


def build_redis(keys: Keys, review: Review) -> Redis | None:
    """Where Redis is; None when there is a problem in `review`."""
    address = _address(keys, review)
    password = review.secret("RedisPass", keys.redis_pass, keys.redis_pass_file)
    if address is not None and address.password is not None and password is not None:
        review.refuse("RedisPass", "is given beside a password in RedisURL; keep one of them.")
    sentinel_password = review.secret("RedisSentinelPass", keys.redis_sentinel_pass, keys.redis_sentinel_pass_file)
    _judge_sentinels(keys, address, review)
    return None if address is None else Redis(address.url, password or address.password, sentinel_password)


def _address(keys: Keys, review: Review) -> RedisAddress | None:
    text = keys.redis_url
    if keys.redis_url_file is not None:
        file = review.secret("RedisURL", None, keys.redis_url_file)
        if file is None:
            return None
        text = file.reveal()
    try:
        text = text or (redis_host(keys.redis_host) if keys.redis_host else DEFAULT_REDIS)
        beside = keys.redis_pass is not None or keys.redis_pass_file is not None
        return redis_address(text, keys.redis_database, password_beside=beside)
    except BadUrl as bad:
        place = "RedisURLFile" if keys.redis_url_file else "RedisHost" if keys.redis_host else "RedisURL"
        review.refuse(place, str(bad))
        return None


def _judge_sentinels(keys: Keys, address: RedisAddress | None, review: Review) -> None:
    if not keys.redis_sentinels:
        for place, value in (
            ("RedisMaster", keys.redis_master),
            ("RedisSentinelPass", keys.redis_sentinel_pass),
            ("RedisSentinelPassFile", keys.redis_sentinel_pass_file),
        ):
            if value is not None:
                review.refuse(place, 'is given without RedisSentinels, e.g. ["10.0.0.1:26379"]; give both or neither.')
        return
    if keys.redis_master is None:
        review.refuse("RedisMaster", "is missing or empty; it is the name under which Sentinel knows the Redis to use.")
    if address is None:
        return
    if address.url.startswith("unix:"):
        review.refuse("RedisURL", "names a socket, but Sentinel gives host and port; use redis:// or rediss://.")
    elif keys.redis_host or (address.names_host and (keys.redis_url or keys.redis_url_file)):
        review.note(
            "HostUnused",
            "Host and port of RedisURL are not used: Sentinel names the current Redis.",
            "Leave them out: redis:///0, or rediss:///0 for TLS.",
        )
