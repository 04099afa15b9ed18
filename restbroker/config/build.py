"""Judges the keys together and makes the finished configuration of them.

Called by `config.load`. Always holds: every problem is named, not only the first; what works but deserves a look
becomes a note.
"""

from collections.abc import Mapping

from restbroker.config.build_listens import judge_listens
from restbroker.config.build_redis import build_redis
from restbroker.config.build_targets import build_targets
from restbroker.config.build_web import build_login
from restbroker.config.check_events import checked_events
from restbroker.config.core import Config
from restbroker.config.key import Members
from restbroker.config.keys import Keys
from restbroker.config.review import Review
from restbroker.config.target import Target
from restbroker.config.tokens import checked_tokens
from restbroker.job.json_types import Json


def build(
    keys: Keys,
    given: Mapping[str, Json],
    kinds: Mapping[str, Members],
    sources: Mapping[str, Members],
    review: Review,
) -> Config | None:
    """The configuration; None when there is a problem in `review`. `given` are the keys that somebody wrote."""
    redis = build_redis(keys, review)
    targets = build_targets(keys, given, kinds, review)
    tokens = checked_tokens(keys.token, keys.tokens, review)
    stats_login = build_login(keys, review)
    roster = None if keys.roster is None else keys.roster.checked(targets, review)
    events = None if keys.events is None else checked_events(keys.events, targets, sources, review)
    judge_listens(keys, review)
    _judge_together(keys, targets, review)
    if review.problems or redis is None:
        return None
    return Config(
        redis_url=redis.url,
        redis_password=redis.password,
        redis_sentinels=keys.redis_sentinels,
        redis_master=keys.redis_master,
        redis_sentinel_password=redis.sentinel_password,
        namespace=keys.redis_namespace or "",
        targets=targets,
        tokens=tokens,
        response_queue=keys.response_queue,
        response_details=keys.response_details,
        response_class=keys.response_class,
        backoff=keys.backoff,
        uncertain_retries=keys.uncertain_retries,
        dead_limit=keys.dead_limit,
        history_s=keys.history,
        processes=keys.processes,
        shutdown_timeout_s=keys.shutdown_timeout,
        stats=keys.stats,
        stats_bind=keys.stats_bind,
        stats_port=keys.stats_port,
        stats_login=stats_login,
        stats_hosts=keys.stats_hosts,
        stats_prefix=keys.stats_prefix,
        stats_read_only=keys.stats_read_only,
        roster=roster,
        events=events,
        health_bind=keys.health_bind,
        log_level=keys.log_level,
        show_bodies=keys.show_bodies,
    )


def _judge_together(keys: Keys, targets: tuple[Target, ...], review: Review) -> None:
    slow = [target for target in targets if keys.shutdown_timeout < target.timeout_s]
    if slow:
        of = "" if len(targets) == 1 else f" of {', '.join(target.name for target in slow)}"
        review.note(
            "ShortShutdown",
            f"ShutdownTimeout is shorter than RequestTimeout{of}: a stop may cut off running requests.",
            "Make ShutdownTimeout the longer one.",
        )
