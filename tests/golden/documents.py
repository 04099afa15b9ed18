"""Whole files env.json: the flat form of the Go original, each kind of target, each source of events, and wrong ones."""

from collections.abc import Mapping
from typing import Final

from restbroker.job.json_types import Json

_TOKEN: Final[dict[str, Json]] = {"Token": "t0ken-of-app"}
_FLAT: Final[dict[str, Json]] = {"RestURL": "http://127.0.0.1:5281/api", "RestQueue": "rest", **_TOKEN}
_SECRET: Final = "a-long-enough-secret-of-32-letters"
_BASIC: Final[Json] = {"Basic": {"User": "admin", "Pass": "pass-of-admin"}}
_BEARER: Final[Json] = {"Bearer": {"Token": "t0ken"}}
_AUTO: Final[Json] = {"Auto": {"User": "u", "Pass": "p"}}
_RULES: Final[dict[str, Json]] = {"Queue": "xmpp_events", "Class": "XmppEvent"}


def _target(kind: str, url: str, **more: Json) -> dict[str, Json]:
    return {"Kind": kind, "URL": url, "Queues": ["rest"], "Domain": "example.org", **more}


def _basic(user: str) -> Json:
    return {"Basic": {"User": user, "Pass": "p"}}


def _targets(**entries: Json) -> dict[str, Json]:
    return {**_TOKEN, "Targets": entries}


def _events(**source: Json) -> dict[str, Json]:
    return _sources(src=source)


def _sources(listen: str = "127.0.0.1:8081", **sources: dict[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {name: {**_RULES, **source} for name, source in sources.items()}
    return {**_FLAT, "Events": {"Listen": listen, "Sources": found}}


def _posted(path: str = "/e", **more: Json) -> dict[str, Json]:
    return {"Kind": "prosody-rest", "Path": path, **more}


_EJABBERD: Final = _target("ejabberd", "https://xmpp.example.org:5443/api", Auth=_BASIC)
_CHAT: Final = _target("openfire-chat", "http://127.0.0.1:7070", Auth=_BASIC)
_ROSTER: Final = _target("prosody-roster", "http://127.0.0.1:5280/roster_admin")
_STREAMS: Final[dict[str, Json]] = {"Target": "chat", "Users": ["ann"], "PasswordsFile": "passwords"}


def _streams(**sources: dict[str, Json]) -> dict[str, Json]:
    usual: dict[str, Json] = {"Kind": "openfire-sse", **_RULES, "Options": _STREAMS}
    return {**_targets(chat=_CHAT), "Events": {"Sources": {name: {**usual, **more} for name, more in sources.items()}}}


def _component(server: str, **options: Json) -> dict[str, Json]:
    given: dict[str, Json] = {"Name": "push.example.org", "Hosts": ["example.org"], "Pass": "p", **options}
    return {"Kind": f"{server}-component", **_RULES, "Options": given}


DOCUMENTS: Final[Mapping[str, Json]] = {
    "the least": _FLAT,
    "as the Go original had it": {
        "RedisHost": "127.0.0.1:6379", "RedisDatabase": 3, "RedisPass": "", "RedisPoolCount": 30, "ProcessID": "1",
        "RestURL": "http://localhost:5281", "RestUser": "admin@example.org", "RestPass": "change-me",
        "RestQueue": "rest", "JabberDomain": "example.org", "JabberRestHost": "x", "Token": "change-me",
        "Concurreny": 10, "Stats": True, "StatsPort": 8080, "MaxIdleConnections": 100,
    },
    "as `config init` writes it": {
        "//": "Keys that begin with // or _ are comments.", "RedisURL": "redis://127.0.0.1:6379/0",
        "RestURL": "http://127.0.0.1:5281/api", "RestUser": "admin@example.org", "RestPass": "change-me",
        "JabberDomain": "example.org", "RestQueue": "rest", "ResponseQueue": "rest_replies", "Token": "change-me",
        "Concurrency": 20, "RequestTimeout": "10s", "ShutdownTimeout": "25s", "LogLevel": "info",
    },
    "all flat keys": {
        "RedisURL": "rediss://r.example.org:6380/2", "RedisPassFile": "secret", "RedisNamespace": "app",
        "RestURL": "https://xmpp.example.org/api", "RestAuth": "bearer", "RestUser": "admin@example.org",
        "RestPassFile": "secret", "ServerVersion": "24.12", "ApiVersion": 2, "JabberDomain": "example.org",
        "HostHeader": "xmpp.example.org", "RestQueue": "rest", "TokenFile": "secret", "ResponseQueue": "replies",
        "ResponseDetails": True, "ResponseClass": "Reply", "Concurrency": 50, "RequestTimeout": "30s",
        "ConnectTimeout": 1.5, "IdleExpiry": "1m", "MaxConnectionAge": "1h", "Engine": "httpx", "RateLimit": "200/s",
        "MaxInFlight": 100, "Slots": {"register": 2}, "Expire": {"send_*": "10m"}, "OnExpiry": "dead", "IdempotencyFor": "2h", "FairBy": ["host"], "FairWeights": {"Vip.example.org": 4}, "AtMostOnce": ["send_*"], "ShutdownTimeout": "1m",
        "Backoff": {"Base": "1s", "Factor": 3, "Cap": "1h"}, "UncertainRetries": 0, "DeadLimit": 10, "History": "7d",
        "Processes": 4, "Stats": True, "StatsPort": 9090, "StatsBind": "0.0.0.0", "StatsUser": "ann",
        "StatsPass": "long-enough-password", "StatsHosts": ["jobs.example.org"], "StatsPrefix": "/jobs",
        "StatsReadOnly": True, "HealthBind": "127.0.0.1:9091", "LogLevel": "debug", "ShowBodies": True,
    },
    "other spellings of keys": {"resturl": "http://127.0.0.1:5281/api", "RESTQUEUE": "rest", "token": "t"},
    "the login's token": {**_FLAT, "RestToken": "t0ken-of-server"},
    "sentinels": {**_FLAT, "RedisSentinels": ["s1", "s2:26380"], "RedisMaster": "m", "RedisSentinelPass": "p"},
    "a URL in RedisHost": {**_FLAT, "RedisHost": "redis://:s3cret@r.example.org/1"},
    "several tokens": {
        **_FLAT,
        "Tokens": {
            "app": {"Secret": _SECRET, "PreviousSecretFile": "secret", "Hosts": ["example.org"]},
            "admin": {"Secret": "b" * 40, "Allow": ["*", "dangerous:backup"], "Queues": ["rest"], "Signed": True},
        },
    },
    "ejabberd": _targets(main={**_EJABBERD, "Options": {"ServerVersion": "23.01", "ApiVersion": 1}}),
    "mongooseim": _targets(main=_target("mongooseim", "http://127.0.0.1:5551/api/graphql", Auth=_BASIC)),
    "mongooseim for users": _targets(
        main=_target("mongooseim", "http://127.0.0.1:5561/api/graphql", Auth=_BASIC, Options={"Schema": "user"})
    ),
    "openfire-rest": _targets(main=_target("openfire-rest", "http://127.0.0.1:9090/plugins/restapi/v1", Auth=_BASIC)),
    "openfire-rest with a secret": _targets(
        main=_target("openfire-rest", "http://127.0.0.1:9090/plugins/restapi/v1", Options={"Secret": "s"})
    ),
    "openfire-chat": _targets(main=_CHAT),
    "openfire-chat far away, at the path of its page": _targets(
        main=_target("openfire-chat", "http://of.example.org:7070/rest/api/restapi/v1", Options={"Secret": "s"})
    ),
    "openfire-chat behind a proxy, without a login": _targets(main=_target("openfire-chat", "http://127.0.0.1/openfire/api")),
    "openfire-rest far away, at no path": _targets(
        main=_target("openfire-rest", "http://of.example.org:9090", Options={"Secret": "s"})
    ),
    "openfire-rest behind a proxy, without a login": _targets(main=_target("openfire-rest", "http://127.0.0.1/proxied")),
    "openfire-chat with passwords": _targets(
        main={**_CHAT, "Auth": None, "Options": {"SecretFile": "secret", "PasswordsFile": "passwords", "JoinRooms": False}}
    ),
    "prosody-rest": _targets(
        main=_target(
            "prosody-rest", "http://127.0.0.1:5280/rest", Auth={"Basic": {"User": "broker", "Pass": "p"}},
            Options={"AdminURL": "http://127.0.0.1:5280/admin_api", "AdminToken": "t", "Fields": ["receipt"]},
        )
    ),
    "prosody-roster": _targets(main={**_ROSTER, "Options": {"Debounce": "1s", "MaxWait": "2s", "BatchSize": 5}}),
    "prosody-roster that only writes": _targets(
        main={"Kind": "prosody-roster", "Queues": ["rest"], "Options": {"WritesOnly": True}}
    ),
    "http": _targets(
        main={
            "Kind": "http", "URL": "https://api.example.org/v1", "Queues": {"rest": 3, "low": 1},
            "Auth": {"Bearer": {"TokenFile": "secret"}},
            "Options": {
                "Commands": {
                    "add": {"Path": "/things", "Body": {"name": "{name}"}, "Idempotent": True},
                    "find": {"Method": "GET", "Path": "/things/{id}", "Query": {"q": "{q}"}, "Success": ["2xx", 404]},
                    "say": {"Path": {"File": "secret"}},
                },
                "Headers": {"X-Key": {"Env": "SOME_SECRET"}}, "Probe": {"Path": "/health"}, "AllowPrivate": True,
                "SigningSecrets": [{"File": "secret"}],
            },
        }
    ),
    "mongooseim for domain admins": _targets(
        main=_target("mongooseim", "http://127.0.0.1:5551/api/graphql", Domain=None,
                     Auth=_basic("admin@example.net"), Options={"Schema": "domain_admin"})
    ),
    "a login of another domain's admin": _targets(
        main=_target("mongooseim", "http://127.0.0.1:5551/api/graphql",
                     Auth=_basic("root@localhost"), Options={"Schema": "domain_admin"})
    ),
    "a login of no user": _targets(
        main=_target("mongooseim", "http://127.0.0.1:5561/api/graphql", Auth=_basic("bot"), Options={"Schema": "user"})
    ),
    "a bearer token for mongooseim": _targets(
        main=_target("mongooseim", "http://127.0.0.1:5551/api/graphql", Auth=_BEARER)
    ),
    **{
        f"{what} for {kind}": _targets(main=_target(kind, "http://127.0.0.1", Auth=auth, Options=options))
        for kind in ("openfire-rest", "openfire-chat")
        for what, auth, options in (
            ("a login beside a secret", _BASIC, {"Secret": "s"}),
            ("a JID as the administrator's name", _basic("admin@example.org"), None),
            ("a bearer token", _BEARER, None),
        )
    },
    "a login that mod_msg cannot use": _targets(
        main=_target("prosody-rest", "http://127.0.0.1", Auth=_BEARER, Options={"MsgURL": "http://127.0.0.1/msg"})
    ),
    "tokens that the server issues, for prosody-rest": _targets(main=_target("prosody-rest", "http://127.0.0.1", Auth=_AUTO)),
    "tokens that the server issues, for http": _targets(
        main={"Kind": "http", "URL": "http://127.0.0.1", "Queues": ["q"], "Auth": _AUTO, "Options": {"Commands": {"a": {}}}}
    ),
    "a proxy before a socket": _targets(
        main={**_EJABBERD, "URL": "http+unix://%2Frun%2Fx.sock/api", "Proxy": "http://p.example.org:3128"}
    ),
    "a proxy before an address of anybody": _targets(
        main={"Kind": "http", "URL": "http://127.0.0.1", "Queues": ["q"], "Proxy": "http://p.example.org:3128",
              "Options": {"Commands": {"a": {}}}}
    ),
    "two logins of http": _targets(
        main={"Kind": "http", "URL": "http://127.0.0.1", "Queues": ["q"], "Auth": _BEARER,
              "Options": {"Commands": {"a": {}}, "Headers": {"Authorization": "x"}}}
    ),
    "the flat form and targets": {**_FLAT, "Targets": {"second": {**_EJABBERD, "Queues": ["second"]}}},
    "all members of a target": _targets(
        main={
            **_EJABBERD, "HostHeader": "h.example.org", "Concurrency": 3, "RequestTimeout": "1m", "ConnectTimeout": "1s",
            "IdleExpiry": "5s", "MaxConnectionAge": "2m", "RateLimit": {"Rate": "60/min", "Burst": 5}, "MaxInFlight": 9,
            "Slots": {"register": 1}, "AtMostOnce": [], "Engine": "httpx",
        }
    ),
    "the roster service": {**_targets(rosters=_ROSTER), "Roster": {"Domain": "example.org", "Auth": {"Key": {"Value": "k"}}}},
    "events of prosody-rest": _events(
        Kind="prosody-rest", Path="/events/prosody", Secret=_SECRET, DropDuplicates="60s", DropOwn="10s",
        Options={"Name": "Tea bot", "Version": "1"},
        Only={"Types": ["message"], "Receiver": ["bot-*"]}, Except={"Body": ["*spam*"]}, IQ="accept",
        Fields={"origin": "prosody"}, Names={"body": "text"}, Omit=["raw"],
        Routes=[
            {"Only": {"Types": ["presence"]}, "Queue": "presence", "Class": "P"},
            {"Except": {"Body": ["*spam*"]}, "Class": "Bot", "Fields": {"level": 1}, "Omit": ["id"]},
            {"Queue": "rest_of_it"},
        ],
    ),
    "events of routes alone": _events(**_posted(), Queue=None, Class=None, Routes=[{"Queue": "q", "Class": "C"}]),
    "events at addresses of their own": {
        **_sources(one=_posted(), two=_posted("/q", Listen="127.0.0.1:8083"), three=_posted("/r", Listen="127.0.0.1:8083")),
    },
    "events of mongooseim-sns": _events(
        Kind="mongooseim-sns", Path="/sns",
        Options={"AccessKey": "AKIAEXAMPLE", "SecretKeyFile": "secret", "Topics": {"arn:x": {"Type": "message"}}},
    ),
    "events of mongooseim-amqp": _events(
        Kind="mongooseim-amqp", Options={"URL": "amqps://u:p@r.example.org/v", "QueueType": "classic", "Prefetch": 10},
    ),
    "events of mongooseim-webhook": _events(
        Kind="mongooseim-webhook", Path="/hook", Secret=_SECRET, Options={"Resend": 0, "Patience": "1s"}
    ),
    "events of webhook": _events(
        Kind="webhook", Path="/jitsi", Only={"Types": ["joined"]},
        Options={
            "Map": {"type": "/event_name", "id": ["header:X-Id", "query:id"], "to": "path:0"}, "Types": {"in": "joined"},
            "MapByType": {"in": {"from": "/who/@jid"}}, "Body": "json", "Drop": ["/a/*/mail"],
        },
    ),
    "events to a chat": {
        **_targets(main=_EJABBERD),
        "Events": {
            "Sources": {
                "src": {
                    **_posted(Kind="webhook"), "Target": "main", "Command": "send_message",
                    "Arguments": {"type": "chat", "from": "a@a.org", "to": "{id}@a.org", "subject": "", "body": "{body}"},
                    "Routes": [{"Only": {"Types": ["ops"]}, "Arguments": {"to": "ops@a.org"}}, {}],
                    "Options": {"Shape": "slack"},
                }
            }
        },
    },
    "events to a URL": {
        **_targets(hook={"Kind": "http", "URL": "https://a.example.org", "Queues": ["hook"],
                         "Options": {"Commands": {"event": {"Path": "xmpp"}}}}),
        "Events": {
            "Sources": {
                "src": {
                    **_posted(), "Target": "hook", "Command": "event", "Token": "default", "Expiry": "10m",
                    "Routes": [{"Only": {"Types": ["presence"]}, "Queue": "q", "Class": "C"}, {"Omit": ["raw"]}],
                }
            }
        },
    },
    "events to a URL that is none": {
        **_targets(main=_EJABBERD),
        "Events": {"Sources": {"src": {**_posted(), "Target": "main", "Queue": "q", "Routes": [{"Target": "nowhere"}]}}},
    },
    "a map that cannot be": _events(
        Kind="webhook", Path="/e", IQ="accept", Fields={"own": 1}, Names={"from": "author"},
        Options={
            "Map": {"raw": "/a", "own": "/b", "author": "/c", "to": "header:authorization", "x": ["path", "query:key"]},
            "MapByType": {"in": {"type": "/d"}},
        },
    ),
    "types that no event has": _events(**_posted(), Only={"Types": ["joined"]}, Routes=[{"Except": {"Types": ["a b"]}}]),
    "events of openfire-sse": {
        **_targets(chat=_CHAT),
        "Events": {"Sources": {"src": {"Kind": "openfire-sse", **_RULES, "Options": {"Target": "chat", "Users": ["ann"], "PasswordsFile": "passwords"}}}},
    },
    "events of openfire-sse of a target of another kind": {
        **_targets(main=_EJABBERD),
        "Events": {"Sources": {"src": {"Kind": "openfire-sse", **_RULES, "Options": {**_STREAMS, "Target": "main"}}}},
    },
    "events of openfire-sse at a path": _streams(src={"Path": "/e"}),
    "events of openfire-sse for two sources": _streams(
        src={}, other={"Options": {**_STREAMS, "Users": [], "Askers": ["bob"]}}
    ),
    "events of openfire-sse for one user twice": _streams(src={}, other={"Options": {**_STREAMS, "Askers": ["bob"]}}),
    "events of ejabberd-component": {
        **_targets(main=_EJABBERD),
        "Events": {"Sources": {"src": {"Kind": "ejabberd-component", **_RULES, "DropOwn": "5s",
            "Options": {"Name": "events.example.org", "Hosts": ["example.org"], "PassFile": "secret", "Target": "main"}}}},
    },
    "events of prosody-component": {
        **_FLAT,
        "Events": {"Sources": {"src": {"Kind": "prosody-component", **_RULES,
            "Options": {"Name": "push.example.org", "Hosts": ["example.org"], "PassFile": "secret", "Target": "main"}}}},
    },
    "events of a component of a target of another kind": {
        **_targets(chat=_CHAT), "Events": {"Sources": {"src": _component("ejabberd", Target="chat")}},
    },
    "events of a component that drops its own without a target": _sources(src={**_component("ejabberd"), "DropOwn": "5s"}),
    "notifications of Prosody": _sources(src=_component("prosody")),
    "events, open to others and without TLS": {
        **_FLAT,
        "Events": {"Listen": "0.0.0.0:8081", "Sources": {"src": {"Kind": "prosody-rest", "Path": "/e", **_RULES}}},
    },
    "nothing": {},
    "no object": ["RestURL"],
    "no JSON": '{"RestURL": "http://x/api",\n "RestQueue": rest}',
    "no JSON since a comma is missing": '{\n  "RestUser": "bob"\n  "RestPass": "s3cret"\n}',
    "no text": "",
    "a number without an end": '{"Concurrency": ' + "1" * 5000 + "}",
    "lists in lists without an end": "[" * 100_000,
    "lists in lists for a token": '{"Token": ' + "[" * 900 + "]" * 900 + "}",
    "the flat token's name alone": {**_FLAT, "Token": "", "Tokens": {"default": {"Secret": _SECRET}}},
    "a login in a target's URL": _targets(
        one={"Kind": "ejabberd", "URL": "bob:s3cret@h/api", "Queues": ["a"], "RequestTimeout": "1m"}
    ),
    "targets without a login": _targets(
        one=_target("ejabberd", "http://127.0.0.1/api"),
        two={**_target("ejabberd", "http://127.0.0.1/api"), "Queues": ["b"], "RequestTimeout": "1m"},
    ),
    "a key twice": '{"RestQueue": "a", "RestQueue": "b", "RestURL": "http://x/api", "Token": "t"}',
    "a number that is none": '{"RestQueue": "a", "RestURL": "http://x/api", "Token": "t", "Concurrency": NaN}',
    "keys that do not exist": {
        **_FLAT, "RestUrI": "x", "Concurency": 3, "Targetz": {}, "Stat": True, "Cron": {}, "Token": "",
        "Events": {"Lisen": "x", "Sources": {"a": {"Kind": "b"}}},
    },
    "several wrong values": {**_FLAT, "Concurrency": 0, "RequestTimeout": "soon", "LogLevel": "loud", "Stats": "yes"},
    "a key and its file": {**_FLAT, "TokenFile": "secret", "RestPass": "p", "RestPassFile": "secret"},
    "one queue of two targets": _targets(one=_EJABBERD, two=_EJABBERD),
    "one token twice": {**_FLAT, "Tokens": {"app": {"Secret": _SECRET}, "other": {"Secret": _SECRET}}},
    "a kind that does not exist": _targets(main=_target("matrix", "http://x")),
    "options of another kind": _targets(main={**_EJABBERD, "Options": {"Schema": "admin"}}),
    "two logins": _targets(main={**_EJABBERD, "Auth": {"Basic": {"User": "u", "Pass": "p"}, "Bearer": {"Token": "t"}}}),
    "pages for everybody": {**_FLAT, "Stats": True, "StatsBind": "0.0.0.0"},
    "three doors at one port": {
        **_events(Kind="prosody-rest", Path="/e", Secret=_SECRET), "Stats": True, "StatsPort": 8081,
        "HealthBind": "127.0.0.1:8081",
    },
    "doors of one port at two addresses": {
        **_events(**_posted()), "Roster": {"Listen": "127.0.0.2:8081"},
        "Stats": True, "StatsPort": 8082, "HealthBind": "127.0.0.1:0",
    },
    "a door at an address of all": {**_FLAT, "Roster": {"Listen": "[::1]:90"}, "HealthBind": "[::]:90"},
    "a door at the port of events": {**_events(**_posted()), "Roster": {"Listen": "localhost:8081"}},
    "rosters that are not served": {**_events(**_posted()), "Roster": {"Listen": "127.0.0.1:8081", "Serve": False}},
    "rosters open to others": {**_FLAT, "Roster": {"Listen": "192.0.2.1:8082", "Serve": False}},
    "rosters open to others, with a key": {
        **_FLAT, "Roster": {"Listen": "xmpp.example.org:8082", "Auth": {"Key": {"Value": "k3y"}}},
    },
    "rosters of a target that is quick": {**_targets(main={**_ROSTER, "RequestTimeout": "2s"}), "Roster": {"Target": "main"}},
    "rosters of a target that cannot refresh": {**_targets(main=_EJABBERD), "Roster": {"Target": "main"}},
    "names of targets that none may have": _targets(
        **dict.fromkeys(("Main", "a_b", "", "x" * 33, "a.b"), _EJABBERD)
    ),
    "a queue twice in a target": _targets(main={**_EJABBERD, "Queues": ["a", "b", "a"]}),
    "a queue of the flat form and of a target": {**_FLAT, "Targets": {"main": _EJABBERD}},
    "a weighed queue of two targets": _targets(one=_EJABBERD, two={**_EJABBERD, "Queues": {"b": 2, "rest": 1}}),
    "answers that would be jobs": {**_targets(main=_EJABBERD), "ResponseQueue": "rest"},
    "a flat key beside targets": {**_targets(main=_EJABBERD), "Concurrency": 5},
    "a target of the flat form's name": {**_FLAT, "Targets": {"ejabberd": {**_EJABBERD, "Queues": ["b"]}}},
    "weights without turns": _targets(main={**_EJABBERD, "FairWeights": {"a": 2}}),
    "weights of two names": _targets(main={**_EJABBERD, "FairBy": ["host", "user"], "FairWeights": {"a": 2}}),
    "periodic commands": {
        **_FLAT,
        "Periodic": {
            "nightly": {"Cron": "@daily", "Command": "status"},
            "weekly": {
                "Cron": "30 4 * * 1", "TimeZone": "Europe/Berlin", "Command": "status",
                "Arguments": {"host": "example.org", "deep": [None, {"a": 1}]}, "Missed": "once", "CatchUp": "2h",
                "Overlap": "skip", "Expiry": "5m", "Retry": 3, "ReplyId": "w",
            },
            "late": {"Cron": "@daily", "Command": "status", "Missed": "once", "CatchUp": "1s", "Within": "5m"},
        },
    },
    "a periodic command of another name": {**_FLAT, "Periodic": {"Each night": {"Cron": "@daily", "Command": "status"}}},
    "events that would be commands": _events(**_posted(), Queue="rest"),
    "events that would be commands by a route": _events(**_posted(), Routes=[{}, {"Queue": "rest"}]),
    "two sources of one path": _sources(one=_posted(), two=_posted()),
    "members of events that clash": _events(
        **_posted(), Fields={"from": "x"}, Routes=[{"Names": {"id": "to"}}, {"Names": {"body": "comment"}}]
    ),
    "a route without a class": _events(**_posted(), Class=None, Routes=[{"Class": "C"}, {"Queue": "q"}]),
    "topics that lead back": _events(
        Kind="mongooseim-sns",
        Options={"AccessKey": "A", "SecretKey": _SECRET, "Topics": {"a": {"Type": "message", "Queue": "rest"}}},
    ),
    "topics as whole ARNs": _events(
        Kind="mongooseim-sns",
        Options={"AccessKey": "A", "SecretKey": _SECRET, "Topics": {"arn:aws:sns:x:1:a": {"Type": "message"}}},
    ),
    "topics that routes do not count for": _events(
        Kind="mongooseim-sns", Queue=None, Class=None, Routes=[{"Queue": "q", "Class": "Q"}],
        Options={
            "AccessKey": "A", "SecretKey": _SECRET,
            "Topics": {"a": {"Type": "message", "Queue": "q"}, "b": {"Type": "message", "Class": "C"}, "c": {"Type": "message"}},
        },
    ),
    "an address of a source that others reach": _sources(one=_posted(), two=_posted("/q", Listen="0.0.0.0:8083")),
    "an address of a source that is taken": _sources(
        "0.0.0.0:8081", one=_posted(Secret=_SECRET), two=_posted("/q", Listen="127.0.0.1:8081")
    ),
    "an address of what fetches": _events(Kind="mongooseim-amqp", Listen="[::1]:1", Options={"URL": "amqps://u:p@r"}),
    "an exchange of nothing beside no URL": _events(Kind="mongooseim-amqp", Options={"Exchanges": {"mine": {}}}),
    "RabbitMQ far away without TLS": _events(
        Kind="mongooseim-amqp", Options={"URL": "amqp://u:s3cret@r.example.org", "TLS": {}}
    ),
    "the flat token's name": {**_FLAT, "Tokens": {"default": {"Secret": _SECRET}}},
    "a token that was another's": {**_FLAT, "Tokens": {"app": {"Secret": _SECRET, "PreviousSecret": "t0ken-of-app"}}},
    "a signed token with a short previous secret": {
        **_FLAT, "Tokens": {"app": {"Secret": _SECRET, "PreviousSecretFile": "short", "Signed": True}},
    },
    "no token": {**_FLAT, "Token": "", "Tokens": {"_": "a comment"}},
    "Redis twice": {**_FLAT, "RedisURLFile": "secret", "RedisHost": "redis"},
    "Redis as URL and file": {**_FLAT, "RedisURLFile": "secret", "RedisURL": "redis://r"},
    "logins without users": {**_FLAT, "RestPassFile": "missing", "StatsPassFile": "missing"},
    "names that stand twice": (
        '{"RestQueue": "a", "Token": "t", "token": "s3cret", "Stats": 5, "Backoff": {"Base": 1, "Base": 2},'
        ' "Targets": {"a": {"http://u:s3cret@h/": [], "http://u:s3cret@h/": []}}, "_": 1, "_": 2}'
    ),
}  # fmt: skip
