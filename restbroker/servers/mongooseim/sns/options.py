"""The options that a source of kind `mongooseim-sns` takes beyond those of every source. Loads no Trio.

Always holds: a finished source has a key of some length, and topics, none of whose queues a target serves.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal

import attrs

from restbroker.config import forms
from restbroker.config.check_events import LEAST_SECRET
from restbroker.config.events import EventSource, JobClass
from restbroker.config.key import Names, key, secret, word
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.problems import Problems
from restbroker.config.problems import at as place_of
from restbroker.config.secret import Secret
from restbroker.light import frozen

_TOPIC: Final = r"[A-Za-z0-9_-]{1,256}(?:\.fifo)?"
_ACCESS_KEY: Final = r"[A-Za-z0-9_-]{1,128}"


@frozen(kw_only=True)
class TopicKeys:
    """One entry of `Topics`."""

    type: Literal["message", "groupchat", "presence"] | None = key("Type", mandatory="always")
    """message for MongooseIM's pm_messages_topic, groupchat for muc_messages_topic, presence for
    presence_updates_topic."""
    queue: forms.Queue | None = key("Queue")
    """The queue of its events, regardless of Routes; by default the source's."""
    job_class: JobClass | None = key("Class")
    """The class of their jobs; by default the source's."""


_NO_TOPICS: Mapping[str, TopicKeys] = MappingProxyType({})


@frozen(kw_only=True)
class Options:
    """The members of `Options` in the configuration. `skew_s` is in seconds."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(path="/", is_signed=True, has_ids=False)
    """MongooseIM posts to / alone."""

    access_key: (
        Annotated[str, word("name of a key", _ACCESS_KEY, "a name of 1 to 128 of A-Z, a-z, 0-9, - and _")] | None
    ) = key("AccessKey", mandatory="always")
    """The access_key_id of MongooseIM: any name."""
    secret_key: Secret | None = secret(
        "SecretKey",
        mandatory="or SecretKeyFile",
        meaning=f"Its secret_access_key, of {LEAST_SECRET} characters or more.",
    )
    topics: Annotated[
        Mapping[str, TopicKeys], Names("topics by name", _TOPIC, "the name of a topic, not its whole ARN")
    ] = key("Topics", default=_NO_TOPICS, mandatory="always")
    """MongooseIM's topics by name, with what is published on each."""
    skew_s: forms.Duration = key("ClockSkew", default=900.0, shown="15m")
    """How far MongooseIM's clock may be off. A captured request can be replayed for this long."""

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source with its secret and its topics' queues; add mistakes in the options to `problems`."""
        place = at("Options")
        if not self.access_key:
            problems.refuse(place_of(place, "AccessKey"), "is missing or empty; give MongooseIM's access_key_id.")
        if not self.topics:
            example = 'give for example {"user_message_sent": {"Type": "message"}}'
            problems.refuse(place_of(place, "Topics"), f"is missing or empty; {example}.")
        for name, topic in self.topics.items():
            where = place_of(place_of(place, "Topics"), name)
            if topic.type is None:
                problems.refuse(
                    place_of(where, "Type"), "is missing or empty; it is one of message, groupchat and presence."
                )
            if topic.job_class is not None and not (topic.queue or source.queue):
                why = "the source has none, and its Routes do not apply to a topic with a Class"
                problems.refuse(place_of(where, "Queue"), f"is missing or empty; {why}.")
            if topic.queue is not None and not (topic.job_class or source.job_class):
                why = "the source has none, and its Routes do not apply to a topic with a Queue"
                problems.refuse(place_of(where, "Class"), f"is missing or empty; {why}.")
        where = place_of(place, "SecretKey")
        tried = problems.try_secret(where, self.secret_key)
        if self.secret_key is None:
            problems.refuse(where, "is missing or empty; give MongooseIM's secret_access_key, or use SecretKeyFile.")
        if tried is not None and len(tried.reveal()) < LEAST_SECRET:
            shown = where if tried.path is None else f"{where}File"
            problems.refuse(shown, f"expected at least {LEAST_SECRET} characters, found fewer.")
        queues = [(f"Options.Topics.{name}", topic.queue) for name, topic in self.topics.items() if topic.queue]
        options = attrs.evolve(self, secret_key=tried)
        return attrs.evolve(
            source, options=options, secrets=() if tried is None else (tried,), more_queues=tuple(queues)
        )


def options_of(source: EventSource) -> Options:
    """Return the source's options; if it has none, options with no key and no topics, so that nothing is accepted."""
    return source.options if isinstance(source.options, Options) else Options()
