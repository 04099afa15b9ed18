"""Which keys of env.json are tried, in which document, and with which values.

A key that takes the place of another says so: `TokenFile - Token` is tried without `Token`. Every key of the JSON schema
is here; a test looks.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from restbroker.job.json_types import Json

EVERYWHERE: Final[Sequence[Json]] = (
    *(None, True, False, 0, -1, 2.5, "", "x", "5", "10s", " a b ", "é", [], ["a", "b"], {}, {"a": 1}),
)
"""What is tried for each key."""

_DURATIONS: Final[Sequence[Json]] = (
    10,
    0.25,
    "250ms",
    "5m",
    "2h",
    "1d",
    "0s",
    "10 s",
    "2h30m",
    "30m2h",
    "1e3",
    86_400,
    86_401,
    1e300,
)
_MORE_DURATIONS: Final[Sequence[Json]] = (
    *("250 ms", " 30s ", "5 min", "1 d", "2 h 30 min", "1m 30s", "1.5h", "1s250ms", "23h59m59s", 2.5),
    *(" ", "h", "10", "1h1h", "1h30", "2x", "-5m", "1,5h", "1h  5m", "1 d 1 s"),
)
_FILES: Final[Sequence[Json]] = ("secret", "./secret", "short", "missing", "empty", "two-lines", "/nonexistent/file")
_LOGINS: Final[Sequence[Json]] = ("http://admin:s3cret@h/", "http://admin:of s3cret@h/", "redis://h/0?password=s3cret")
_NAMES: Final[Sequence[Json]] = (
    "rest",
    "rest high",
    "queue:rest",
    "a" * 201,
    "x\ny",
    "rest:jobs@e.org",
    "a:b@c",
    *_LOGINS,
)
_LISTS: Final[Sequence[Json]] = (["one"], ["one", "one"], ["*"], [""], [None], ["a", 1], "one", {"one": 3, "two": 1})
_GLOBS: Final[Sequence[Json]] = (["check_*"], ["register", "dangerous:files"], ["dangerous:*"], ["a b"], ["one", "one"])
_URLS: Final[Sequence[Json]] = (
    *("http://127.0.0.1:5281/api", "https://xmpp.example.org/api/", "http://example.org", "example.org:5281"),
    *("http://u:p@example.org/api", "http://[::1]:5281/api", "ftp://example.org", "http://example.org/api?a=1"),
    *(
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://exa mple.org/",
        "unix:///run/s",
        "http://é.example/",
    ),
    *("http://h/api#x", "http+unix://%2Frun%2Fx.sock/api", "http+unix://run/x.sock", "http://", "http://user@h"),
    *("http://h//x", "http://h/../x", "http://h/ä"),
)
_CHECKS: Final = (
    *("none", "None", "CERT_NONE", "cert_none", "ssl.CERT_NONE", "VerifyMode.CERT_NONE", "0", "optional", "1"),
    *("CERT_OPTIONAL", "required", "Required", "CERT_REQUIRED", "ssl.CERT_REQUIRED", "2", "never", ""),
)
"""How clients spell whether a certificate is checked."""
_REDIS: Final[Sequence[Json]] = (
    *("redis://127.0.0.1:6379/1", "rediss://r.example.org", "redis://:s3cret@r.example.org/2", "redis://u:p@r:1/"),
    *("redis://secret@r.example.org", "unix:///run/redis.sock", "r.example.org:6380", "redis://r/abc", "r.example.org"),
    *("redis://r?db=5", "redis://[::1]:7000", "valkey://r", "redis://:p%40w@r", "redis://bob@r/4", "redis://bob:@r/4"),
    *("redis://b%40b@r", "redis://:@r", "unix://bob:pw@/run/s", "unix://bob@/run/s?db=2", "redis://r/1?db=2"),
    *("redis://r?socket_timeout=9", "redis://:12?ss@r", "redis://:pa#ss@r", "redis://:pa?ss@r", "redis://r s"),
    *("redis://[::1", "redis-sentinel://r", "unix://relative.sock", "redis://:%00@r", "redis://hö:1"),
    *("::1", "[::1]:7000", "r/1", "a@r", ":7000", "r:x", "r?db=1"),
    *(f"rediss://r?ssl_cert_reqs={check}&ssl_ca_certs=/ca.pem" for check in _CHECKS),
)
_PLACES: Final[Sequence[Json]] = ("127.0.0.1:0", "127.0.0.1:8099", "[::1]:80", "0.0.0.0:80", ":80", "h:99999", "h", 80)
_NUMBERS: Final[Sequence[Json]] = (1, 2, 1000, 1001, 10_000, 1_000_000, 1_000_001, 4_294_967_297, "20", "0x10")
_JIDS: Final[Sequence[Json]] = (["ann@example.org"], ["bot-*"], ["*@example.org"], ["a b"], ["ann@example.org/phone"])
_FIELDS: Final[Sequence[Json]] = ({"event": "chat"}, {"a": True, "b": 2}, {"a": None}, {"type": "x"}, {"": "x"})

MORE: Final[Mapping[str, Sequence[Json]]] = {
    **dict.fromkeys(("RequestTimeout", "ConnectTimeout", "IdleExpiry", "MaxConnectionAge"), _DURATIONS),
    **dict.fromkeys(("ShutdownTimeout", "Window", "DropDuplicates", "DropOwn", "IqTimeout"), _DURATIONS),
    **dict.fromkeys(("Debounce", "MaxWait", "ClockSkew", "Resend", "Patience", "Silence", "Lease"), _DURATIONS),
    **dict.fromkeys(("RedisPassFile", "RedisSentinelPassFile", "RestPassFile", "ProxyPassFile"), _FILES),
    **dict.fromkeys(
        ("RestTokenFile", "TokenFile", "StatsPassFile", "MetricsTokenFile", "SecretFile", "PreviousSecretFile"), _FILES
    ),
    **dict.fromkeys(("PassFile", "AdminTokenFile", "URLFile", "SecretKeyFile", "ValueFile"), _FILES),
    **dict.fromkeys(("PasswordsFile",), ("passwords", *_FILES)),
    **dict.fromkeys(("CAFile", "CertFile", "KeyFile"), ("/dev/null", *_FILES)),
    **dict.fromkeys(
        ("RestURL", "URL", "AdminURL", "MsgURL", "Proxy"),
        (*_URLS, "amqp://u:p@r.example.org:5672/%2F", "amqps://r", "amqp://u:p@r/a/b"),
    ),
    **dict.fromkeys(("RedisURL", "RedisHost"), _REDIS),
    **dict.fromkeys(("Listen", "HealthBind"), _PLACES),
    "History": (*_DURATIONS, *_MORE_DURATIONS),
    "HistoryArguments": (["to", "user"], ["password"], ["Body"], ["to me"], "to", []),
    "RedisURLFile": ("redis", *_FILES),
    **dict.fromkeys(("Within", "CatchUp", "Expiry"), (*_DURATIONS, "4s", "10000d")),
    **dict.fromkeys(("Concurrency", "Concurreny", "MaxInFlight", "DeadLimit", "UncertainRetries"), _NUMBERS),
    **dict.fromkeys(("Processes", "StatsPort", "RedisDatabase", "ApiVersion", "BatchSize", "Prefetch"), _NUMBERS),
    **dict.fromkeys(("LargestEvent", "Buffer"), (*_NUMBERS, 1024, 1_048_576)),
    **dict.fromkeys(("RestQueue", "ResponseQueue", "Queue", "RabbitQueue"), _NAMES),
    **dict.fromkeys(("Queues", "Targets", "StatsHosts", "TakenElsewhere"), _LISTS),
    **dict.fromkeys(("Users", "Askers"), (*_LISTS, ["Ann"])),
    "Hosts": (*_LISTS, ["Example.org"]),
    "Name": ("Events.Example.org", "example.org", "badexample.org"),
    "Address": ("10.0.0.1:5347", "xmpp.example.org:5347", "[::1]:5347"),
    "Rooms": (["Team@conference.example.org"], ["conference.example.org"]),
    **dict.fromkeys(("Allow", "AtMostOnce"), _GLOBS),
    **dict.fromkeys(("ResponseClass", "Class"), ("Add", "My::Worker", "App\\Jobs\\One", "1x", "a b")),
    **dict.fromkeys(("Sender", "Receiver"), _JIDS),
    **dict.fromkeys(("Fields",), (*_FIELDS, ["receipt"], ["1x"])),
    **dict.fromkeys(("ServerVersion",), ("auto", "24.12", "23.01-1", "26.07", "6.8.0", "1.0", "nonsense")),
    "RedisSentinels": (["s1:26379", "s2"], ["s1:0"], ["[::1]:26379"], "s1:26379"),
    "RedisMaster": ("mymaster", "a b", *_LOGINS),
    "RedisNamespace": ("app", "app:", ":", "a:b@c", *_LOGINS),
    "RestAuth": ("auto", "basic", "bearer", "Basic", "none"),
    "RestUser": ("admin@example.org", "admin", "a:b"),
    "RestPass": ("s3cret", "pass word", "pä", "a\nb"),
    "Signed": ("queue", "true"),
    "RateLimit": ("200/s", "6000/min", "0/s", "1/h", {"Rate": "200/s", "Burst": 20}, {"Rate": "1/s", "Burst": 0}, 200),
    "Slots": ({"register": 2}, {"register": 0}, {"register": "2"}, {"a b": 1}, {"reg*": 1}),
    "Expire": ({"send_*": "10m"}, {"send_*": 0}, {"send_*": "soon"}, {"a b": 60}, {"send_message": 2.5}),
    "OnExpiry": ("drop", "dead", "park", True),
    "FairBy": (
        *(["host"], ["host", "user"], ["host", "host"], ["a b"], ["a", "b", "c", "d", "e"], "fair_key", [1]),
        *("host", "fairkey", "Fair-Key", ["fair_key"], ["host", "fair_key"]),
    ),
    "OrderBy": (
        *(["user"], ["host"], ["user", "host"], ["host", "host"], ["a b"], [], "order_key", "user", [1]),
        *("fair_key", "Order-Key", ["user", "order_key"]),
    ),
    "OnDead": ("go", "stop", "cancel", "park", True),
    "FairWeights": (
        *({"vip.example.org": 4}, {"a": 0}, {"a": 101}, {"a": "4"}, {"a\n": 1}, {"A.org": 2, "a.org": 3}),
        *({f"k{number}": 2 for number in range(count)} for count in (200, 201)),
    ),
    "Cron": ("30 4 * * *", "@daily", "0 0 30 2 *", "* * * * * *", "0 4 * * * *", "@reboot"),
    "TimeZone": ("Europe/Berlin", "europe/berlin", "localtime", "Mars/Olympus"),
    "Missed": ("skip", "once", "all"),
    "Overlap": ("allow", "skip", "wait"),
    "ReplyId": ("online", "", "a\nb", 7),
    "Shape": ("any", "slack", "teams"),
    "Arguments": ({"host": "example.org"}, ["host"]),
    "IdempotencyFor": ("24h", "0", 0, "400d", "-1h"),
    "Backoff": ("sidekiq", {"Base": "1s", "Factor": 2, "Cap": "1h"}, {"Base": 0}, {"Factor": 0.5}, {"base": "2s"}),
    "Engine": ("lean", "httpx", "Lean"),
    "LogLevel": ("debug", "warning", "WARNING", "trace"),
    "StatsBind": (
        "0.0.0.0",
        "::1",
        "127.0.0.1",
        "localhost:80",
        "127.1.2.3",
        "192.168.1.4",
        "::",
        "stats.example.org",
        *_LOGINS,
    ),
    "StatsUser": ("ann", "a:b"),
    "StatsPass": ("long-enough-password", "sesame-1234", "sesame-12345"),
    "MetricsToken": ("fifteen-letters", "sixteen-letters-"),
    "StatsPrefix": ("/jobs", "/jobs/", "jobs", "/a/../b"),
    "Token": ("t0ken-of-app", "a" * 5000, "a b"),
    "Secret": ("a-long-enough-secret-of-32-letters", "short"),
    "PreviousSecret": ("another-long-secret-of-32-letters", "a-long-enough-secret-of-32-letters"),
    "Kind": ("ejabberd", "http", "prosody-rest", "Ejabberd", "matrix", "mongooseim-sns"),
    "Domain": ("example.org", "Example.ORG", "a@b", "exa mple"),
    "JabberDomain": ("example.org", "Example.ORG", "a@b", *_LOGINS),
    "HostHeader": (
        *("example.org", "xn--nxasmq6b:5281", "127.0.0.1", "[::1]:80", "a_b"),
        *("a b", "ä.example", "a/b", "a@b", "a:b", "::1", "a:", "a\r\nb", "http://a"),
    ),
    "Types": (["message"], ["message", "presence"], ["nonsense"], "message"),
    "Body": (["hello*"], ["*"], "hello", {"text": "{body}"}, "{user}"),
    "Names": ({"body": "text"}, {"body": "1x"}, {"nonsense": "a"}, {"body": "from"}),
    "Omit": (["raw"], ["raw", "nonsense"]),
    "IQ": ("refuse", "accept"),
    "Path": (
        *("/events/one", "events", "/a b", "/roster/{user}", "/{user}/x", "/{id}", "/../x"),
        *("/", "/a/b/", "/r?user={user}", "/r/{user}/{user}", "/r/x{user}"),
    ),
    "Target": ("it", "other"),
    "User": ("admin", "admin@example.org", "a:b"),
    "Pass": ("s3cret", "pä"),
    "Value": ("k3y", "a b"),
    "Auth": (
        {"Basic": {"User": "u", "Pass": "p"}},
        {"Bearer": {"Token": "t"}},
        {"Basic": {"User": "u"}},
        {"basic": {}},
        {"Bearer": {"User": "u", "Token": "t"}},
        {"Auto": {}, "Bearer": {}},
        {"Key": {"Value": "s3cret&b"}},
        {"Basic": {"User": "u", "Pass": "p"}, "Key": {"Value": "k"}},
    ),
    "Method": ("GET", "get", "PUT"),
    "Query": ({"q": "{a}"}, {"q": 1}, {"a b": "x"}),
    "Encoding": ("json", "form", "none"),
    "Headers": ({"X-Key": "v"}, {"X-Key": {"Env": "SOME_SECRET"}}, {"X-Key": {"File": "secret"}}, {"Host": "h"}),
    "Success": ([200, "2xx"], ["2XX"], [99], [600], "2xx"),
    "Retry": ([500, "5xx"], [200], []),
    "SigningSecrets": (["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], ["plain"], [{"File": "secret"}]),
    "Schema": ("admin", "domain_admin", "user"),
    "Paths": ("source", "documented"),
    "Commands": ({"one": {"Path": "/one"}}, {"a b": {}}, {"one": {"path": "/x"}}, {"one": {"Nonsense": 1}}),
    "QueueType": ("quorum", "classic"),
    "Exchanges": ({"chat_msg": {"Carries": "chat"}}, {"a": {"Carries": "nonsense"}}),
    "Carries": ("presence", "chat", "groupchat"),
    "Type": ("topic", "fanout", "direct", "message", "presence"),
    "Keys": (["#"], ["a b"]),
    "AccessKey": ("AKIAEXAMPLE", "a b"),
    "SecretKey": ("s3cret-key-of-aws", "short"),
    "Topics": ({"arn": {"Type": "message"}}, {"arn": {"Type": "message", "Queue": "q", "Class": "C"}}),
    "Routes": ([{"Queue": "a", "Class": "A"}], [{}], [{"Only": {"Types": ["message"]}, "Queue": "b"}]),
}
"""What else is tried for keys of this name."""


@attrs.frozen
class Base:
    """A document that is as it should be, where its keys are (`prefix`, dotted), and which."""

    name: str
    document: Mapping[str, Json]
    prefix: str
    keys: str


_TOKEN: Final[Json] = "t0ken-of-app"
_FLAT: Final[Mapping[str, Json]] = {"RestURL": "http://127.0.0.1:5281/api", "RestQueue": "rest", "Token": _TOKEN}
_SECRET: Final[Json] = "a-long-enough-secret-of-32-letters"


def _target(kind: str, options: Json = None, **more: Json) -> Mapping[str, Json]:
    entry = {"Kind": kind, "URL": "http://127.0.0.1:5281/api", "Queues": ["rest"], **more}
    return {"Token": _TOKEN, "Targets": {"it": {**entry, "Options": options} if options is not None else entry}}


def _source(kind: str, options: Json = None, **more: Json) -> Mapping[str, Json]:
    entry: dict[str, Json] = {"Kind": kind, "Queue": "events", "Class": "Event", **more}
    if options is not None:
        entry["Options"] = options
    return {**_FLAT, "Events": {"Listen": "127.0.0.1:8081", "Sources": {"src": entry}}}


_ONLY: Final[Mapping[str, Json]] = {"Only": {"Types": ["message"]}, "Except": {"Types": ["iq"]}}
_AMQP: Final[Json] = {"URL": "amqp://u:p@r.example.org", "Exchanges": {"chat_msg": {"Carries": "chat"}}, "TLS": {}}
_SNS: Final[Json] = {
    "AccessKey": "AKIAEXAMPLE",
    "SecretKey": "s3cret-key-of-aws",
    "Topics": {"arn": {"Type": "message"}},
}
_TOLD: Final[Json] = {"type": "chat", "from": "a@e.org", "to": "b@e.org", "subject": "", "body": "{text}"}
_ROSTERS: Final[Mapping[str, Json]] = _target("prosody-roster", Domain="example.org")
_OF_EVENTS: Final = "Events.Sources.src"

BASES: Final[Sequence[Base]] = (
    Base(
        "the flat form",
        _FLAT,
        "",
        "RedisURL RedisURLFile RedisHost RedisDatabase RedisPass RedisPassFile RedisSentinels RedisMaster"
        " RedisSentinelPass RedisSentinelPassFile RedisNamespace RedisPoolCount ProcessID MaxIdleConnections RestURL"
        " RestAuth RestUser RestPass RestPassFile RestToken RestTokenFile ServerVersion ApiVersion JabberDomain HostHeader"
        " JabberRestHost RestQueue Token TokenFile-Token Tokens ResponseQueue ResponseDetails ResponseClass TakenElsewhere Concurrency"
        " Concurreny RequestTimeout ConnectTimeout IdleExpiry MaxConnectionAge Engine RateLimit MaxInFlight Slots AtMostOnce"
        " Expire OnExpiry IdempotencyFor FairBy FairWeights OrderBy OnDead"
        " Targets Events Periodic Tell ShutdownTimeout Backoff UncertainRetries DeadLimit History HistoryArguments"
        " Processes Stats StatsPort StatsBind"
        " StatsUser StatsPass StatsPassFile MetricsToken MetricsTokenFile StatsHosts StatsPrefix StatsReadOnly Roster"
        " HealthBind LogLevel ShowBodies"
        " Nonsense restqueue _comment //comment Backoff.Base Backoff.Factor Backoff.Cap RateLimit.Rate RateLimit.Burst",
    ),
    Base("Redis by sentinels", {**_FLAT, "RedisSentinels": ["s1:26379"], "RedisMaster": "m"}, "",
         "RedisURL RedisSentinels RedisMaster RedisSentinelPass RedisSentinelPassFile RedisDatabase RedisPass"),
    Base("a password of Redis", {**_FLAT, "RedisPass": "s3cret"}, "", "RedisURL RedisURLFile"),
    Base("a database of Redis", {**_FLAT, "RedisDatabase": 4}, "", "RedisURL"),
    Base("a login", {**_FLAT, "RestUser": "admin@example.org", "RestPass": "s3cret"}, "",
         "RestUser RestPass RestPassFile-RestPass RestAuth RestToken RestURL"),
    Base("pages without a login", {**_FLAT, "Stats": True}, "", "StatsBind"),
    Base("pages", {**_FLAT, "Stats": True, "StatsUser": "ann", "StatsPass": "long-enough-password"}, "",
         "StatsPort StatsBind StatsUser StatsPass StatsPassFile-StatsPass MetricsToken MetricsTokenFile StatsHosts"
         " StatsPrefix StatsReadOnly HealthBind"),
    Base("tokens", {**_FLAT, "Tokens": {"app": {"Secret": _SECRET}}}, "Tokens.app",
         "Secret SecretFile-Secret PreviousSecret PreviousSecretFile Allow Hosts Targets Queues Signed Window Nonsense"),
    Base("periodic commands", {**_FLAT, "Periodic": {"nightly": {"Cron": "@daily", "Command": "status"}}}, "Periodic.nightly",
         "Cron TimeZone Command Arguments Target Queue Token Missed Within CatchUp Overlap Expiry ReplyId Retry Nonsense"),
    Base("what is told", {**_FLAT, "Tell": {"Target": "ejabberd", "Command": "send_message", "Arguments": _TOLD}}, "Tell",
         "Target Command Arguments Token Expiry Nonsense"),
    Base(
        "a target", _target("ejabberd"), "Targets.it",
        "Kind URL HostHeader Domain Auth Queues Concurrency RequestTimeout ConnectTimeout IdleExpiry MaxConnectionAge Engine"
        " HTTP2 Proxy ProxyUser ProxyPass ProxyPassFile"
        " RateLimit MaxInFlight Slots Expire OnExpiry IdempotencyFor FairBy FairWeights OrderBy OnDead AtMostOnce TLS Options Nonsense TLS.CAFile TLS.CertFile TLS.KeyFile Auth.Basic"
        " Auth.Bearer Auth.Auto Auth.Basic.User Auth.Bearer.Token Auth.Bearer.TokenFile",
    ),
    Base("a proxy", _target("ejabberd", Proxy="http://proxy:3128", ProxyUser="u", ProxyPass="s3cret"), "Targets.it",
         "Proxy ProxyUser ProxyPass ProxyPassFile-ProxyPass"),
    Base("fairness", _target("ejabberd", FairBy=["host"]), "Targets.it", "FairWeights OrderBy"),
    Base("order", _target("ejabberd", OrderBy=["user"]), "Targets.it", "OnDead FairBy"),
    *(
        Base(f"a login by {how}", _target("ejabberd", Auth={how: {"User": "admin@example.org", "Pass": "s3cret"}}),
             f"Targets.it.Auth.{how}", "User Pass PassFile-Pass")
        for how in ("Basic", "Bearer", "Auto")
    ),
    Base("options of ejabberd", _target("ejabberd", {}), "Targets.it.Options", "ServerVersion ApiVersion Nonsense"),
    Base("options of mongooseim", _target("mongooseim", {}, Domain="example.org"), "Targets.it.Options",
         "Schema ServerVersion"),
    Base("options of openfire-chat", _target("openfire-chat", {"Secret": "s"}), "Targets.it.Options",
         "Secret SecretFile-Secret PasswordsFile Paths JoinRooms"),
    Base("options of openfire-rest", _target("openfire-rest", {"Secret": "s"}), "Targets.it.Options",
         "Secret SecretFile-Secret Write"),
    Base("options of prosody-rest", _target("prosody-rest", {}, Domain="example.org"), "Targets.it.Options",
         "AdminURL AdminToken AdminTokenFile MsgURL IqTimeout Fields"),
    Base("options of prosody-roster", _target("prosody-roster", {}, Domain="example.org"), "Targets.it.Options",
         "Debounce MaxWait BatchSize WritesOnly"),
    Base("options of http", _target("http", {"Commands": {"one": {"Path": "/x"}}}), "Targets.it.Options",
         "Commands Headers Headers.XKey.File Headers.XKey.Env SigningSecrets Probe Probe.Method Probe.Path AllowPrivate"),
    Base("a command of http", _target("http", {"Commands": {"one": {"Path": "/x"}}}), "Targets.it.Options.Commands.one",
         "Method Path Query Body Encoding Headers Success Retry Idempotent Nonsense"),
    Base("the roster service", {**_ROSTERS, "Roster": {"Target": "it"}}, "Roster",
         "Listen Path Serve Domain Target CopyAge CopiesMiB Auth Nonsense"),
    Base("its login", {**_ROSTERS, "Roster": {"Auth": {"Basic": {"User": "u", "Pass": "p"}}}}, "Roster.Auth.Basic",
         "User Pass PassFile-Pass"),
    Base("its key", {**_ROSTERS, "Roster": {"Auth": {"Key": {"Value": "k3y"}}}}, "Roster.Auth.Key",
         "Value ValueFile-Value"),
    Base("events", _source("prosody-rest", Path="/events", Secret=_SECRET), "Events",
         "Listen CertFile KeyFile Sources Nonsense"),
    Base("a source", _source("prosody-rest", Path="/events", Secret=_SECRET), _OF_EVENTS,
         "Kind Path Secret SecretFile-Secret Queue Class Target Command Token Expiry DropDuplicates DropOwn Only Except"
         " Routes Fields Names Omit IQ"
         " Listen Options Nonsense"),
    Base("options of events of prosody-rest", _source("prosody-rest", {}, Path="/events", Secret=_SECRET),
         f"{_OF_EVENTS}.Options", "Name Version XML Room"),
    Base("what a source takes", _source("prosody-rest", Path="/events", Secret=_SECRET, **_ONLY), f"{_OF_EVENTS}.Only",
         "Types Sender Receiver Body Nonsense"),
    Base("what a source drops", _source("prosody-rest", Path="/events", Secret=_SECRET, **_ONLY), f"{_OF_EVENTS}.Except",
         "Types Sender Receiver Body"),
    Base("options of mongooseim-amqp", _source("mongooseim-amqp", _AMQP), f"{_OF_EVENTS}.Options",
         "URL URLFile-URL TLS RabbitQueue QueueType Exchanges Prefetch TLS.CAFile TLS.CertFile TLS.KeyFile"),
    Base("an exchange", _source("mongooseim-amqp", _AMQP), f"{_OF_EVENTS}.Options.Exchanges.chat_msg",
         "Carries Type Durable Create Keys"),
    Base("options of mongooseim-sns", _source("mongooseim-sns", _SNS, Path="/sns"), f"{_OF_EVENTS}.Options",
         "AccessKey SecretKey SecretKeyFile-SecretKey Topics ClockSkew"),
    Base("a topic", _source("mongooseim-sns", _SNS, Path="/sns"), f"{_OF_EVENTS}.Options.Topics.arn", "Type Queue Class"),
    Base("options of webhook", _source("webhook", {}, Path="/hook", Secret=_SECRET), f"{_OF_EVENTS}.Options",
         "Map Map.to Types MapByType MapByType.chat Body Shape Drop Charset Chain"),
    Base("options of mongooseim-webhook", _source("mongooseim-webhook", {}, Path="/hook", Secret=_SECRET),
         f"{_OF_EVENTS}.Options", "Resend Patience"),
    Base("a source of mongooseim-webhook", _source("mongooseim-webhook", Path="/hook", Secret=_SECRET), _OF_EVENTS,
         "DropDuplicates IQ"),
    Base(
        "options of openfire-sse",
        {
            **_target("openfire-chat", Auth={"Basic": {"User": "admin", "Pass": "p"}}, Domain="example.org"),
            "Events": {"Sources": {"src": {"Kind": "openfire-sse", "Queue": "events", "Class": "Event",
                                           "Options": {"Target": "it", "Users": ["ann"], "PasswordsFile": "passwords"}}}},
        },
        f"{_OF_EVENTS}.Options",
        "Target Users Askers PasswordsFile Announce Silence Lease LargestEvent Buffer",
    ),
    Base(
        "options of ejabberd-component",
        {
            **_target("ejabberd", Domain="example.org"),
            "Events": {"Sources": {"src": {"Kind": "ejabberd-component", "Queue": "events", "Class": "Event",
                                           "Options": {"Name": "events.example.org", "Hosts": ["example.org"], "Pass": "p",
                                                       "Target": "it"}}}},
        },
        f"{_OF_EVENTS}.Options",
        "Address Name Hosts Pass PassFile-Pass TLS CAFile ForeignName Take PushEmpty Rooms Target Lease MaxUnread MaxStanza",
    ),
    Base("options of prosody-component",
         _source("prosody-component", {"Name": "push.example.org", "Hosts": ["example.org"], "Pass": "p"}), f"{_OF_EVENTS}.Options",
         "Address Name Hosts Pass PassFile-Pass TLS CAFile Take PushEmpty Lease MaxUnread MaxStanza ForeignName Rooms Target"),
)  # fmt: skip
