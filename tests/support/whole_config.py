"""A configuration with every kind of target and source, and every section, in which nothing is wrong.

Used by tests that break it. `SECRET` stands in each of its secrets.
"""

from pathlib import Path
from typing import Final

from restbroker.job.json_types import Json

SECRET: Final = "hunter2-of-16-and-more"
_TEXT: Final = f"{SECRET}-in-a-text"
_BASIC: Final[Json] = {"Basic": {"User": "admin@example.org", "Pass": SECRET}}
_NAME: Final[Json] = {"Basic": {"User": "admin", "Pass": SECRET}}


def whole(folder: Path) -> dict[str, Json]:
    """The document. The files that it names are made in the folder."""
    (folder / "passwords").write_text(f"ann:{SECRET}\nbob:{SECRET}\n")
    (folder / "secret").write_text(f"{SECRET}-in-a-file\n")
    targets: dict[str, Json] = {
        "ejabberd-2": {
            "Kind": "ejabberd",
            "URL": "http://127.0.0.1:5281/api",
            "Domain": "example.org",
            "Auth": _BASIC,
            "Queues": ["e-high", "e-low"],
            "Concurrency": 3,
            "RequestTimeout": "9s",
            "Slots": {"register": 2},
            "RateLimit": {"Rate": "200/s", "Burst": 20},
            "TLS": {},
            "AtMostOnce": ["announce_*"],
            "Options": {"ServerVersion": "24.12", "ApiVersion": 1},
        },
        "hook": {
            "Kind": "http",
            "URL": "https://hook.example.org/",
            "Queues": {"h-high": 3, "h-low": 1},
            "Options": {
                "Headers": {"X-Api-Key": {"File": "secret"}},
                "Commands": {
                    "add": {"Path": "/users/{user}", "Body": {"name": "{name}"}, "Success": [200, "3xx"]},
                    "remove": {"Method": "DELETE", "Path": "/users/{user}", "Retry": [503], "Query": {"q": "{q?}"}},
                    "post": {"Path": {"File": "secret"}},
                    "find": {"Method": "GET", "Headers": {"Accept": "text/plain"}, "Idempotent": True},
                },
                "Probe": {"Method": "GET", "Path": "/health"},
            },
        },
        "mongoose": {
            "Kind": "mongooseim",
            "URL": "http://127.0.0.1:5551/api/graphql",
            "Queues": ["mongoose"],
            "Auth": _BASIC,
            "MaxInFlight": 9,
            "Options": {"Schema": "admin", "ServerVersion": "6.5.0"},
        },
        "chat": {
            "Kind": "openfire-chat",
            "URL": "http://127.0.0.1:7070",
            "Queues": ["chat"],
            "Auth": _NAME,
            "Options": {"PasswordsFile": "passwords", "Paths": "source", "JoinRooms": True},
        },
        "openfire": {
            "Kind": "openfire-rest",
            "URL": "http://127.0.0.1:9090",
            "Queues": ["openfire"],
            "Engine": "httpx",
            "Options": {"Secret": SECRET},
        },
        "prosody": {
            "Kind": "prosody-rest",
            "URL": "http://127.0.0.1:5280/rest",
            "Queues": ["prosody"],
            "Auth": _BASIC,
            "Options": {
                "AdminURL": "http://127.0.0.1:5280/admin_api",
                "AdminToken": SECRET,
                "IqTimeout": "9s",
                "MsgURL": "http://127.0.0.1:5280/msg",
                "Fields": ["receipt"],
            },
        },
        "roster": {
            "Kind": "prosody-roster",
            "URL": "http://127.0.0.1:5280/roster_admin",
            "Queues": ["roster"],
            "Auth": {"Bearer": {"Token": SECRET}},
            "Options": {"Debounce": "1s", "MaxWait": "2s", "BatchSize": 9},
        },
    }
    sources: dict[str, Json] = {
        "amqp": {
            "Kind": "mongooseim-amqp",
            "Queue": "events",
            "Class": "Event",
            "Options": {
                "URL": f"amqp://user:{SECRET}@127.0.0.1:5672/",
                "Prefetch": 9,
                "RabbitQueue": "rabbit",
                "Exchanges": {"presence": {"Keys": ["#"], "Type": "topic"}, "chat_msg": {"Durable": True}},
            },
        },
        "sns": {
            "Kind": "mongooseim-sns",
            "Queue": "events",
            "Class": "Event",
            "Options": {
                "AccessKey": "key",
                "SecretKey": SECRET,
                "ClockSkew": "9m",
                "Topics": {"sent": {"Type": "message"}, "rooms": {"Type": "groupchat", "Queue": "rooms"}},
            },
        },
        "hooked": {
            "Kind": "mongooseim-webhook",
            "Path": "/events/hooked",
            "Queue": "events",
            "Class": "Event",
            "Secret": SECRET,
            "Options": {"Resend": "2s", "Patience": "1s"},
        },
        "posted": {
            "Kind": "webhook",
            "Path": "/events/posted",
            "Queue": "events",
            "Class": "Event",
            "Secret": SECRET,
            "Options": {
                "Map": {"type": "/event", "from": ["/who", "header:X-From"], "at": "/at"},
                "Types": {"in": "joined"},
                "MapByType": {"in": {"room": "/room"}},
                "Body": "json",
                "Drop": ["/who/email"],
            },
        },
        "component": {
            "Kind": "ejabberd-component",
            "Queue": "events",
            "Class": "Event",
            "Options": {
                "Name": "events.example.org",
                "Hosts": ["example.org"],
                "Pass": SECRET,
                "Rooms": ["team@conference.example.org"],
                "Take": ["message", "groupchat", "push"],
                "PushEmpty": False,
                "Lease": "9s",
                "MaxUnread": "9s",
                "MaxStanza": 100_000,
            },
        },
        "push": {
            "Kind": "prosody-component",
            "Queue": "events",
            "Class": "Event",
            "Options": {
                "Address": "127.0.0.1:5348",
                "Name": "push.example.org",
                "Hosts": ["example.org"],
                "Pass": SECRET,
                "Take": ["push"],
                "PushEmpty": False,
                "Lease": "9s",
                "MaxUnread": "9s",
                "MaxStanza": 100_000,
            },
        },
        "sse": {
            "Kind": "openfire-sse",
            "Queue": "events",
            "Class": "Event",
            "Options": {
                "Users": ["ann"],
                "Askers": ["bob"],
                "PasswordsFile": "passwords",
                "Target": "chat",
                "Silence": "30s",
                "Lease": "9s",
                "Buffer": 2_000_000,
            },
        },
        "stanzas": {
            "Kind": "prosody-rest",
            "Path": "/events/prosody",
            "Queue": "events",
            "Class": "Event",
            "Options": {"Name": "Tea bot", "Version": "1"},
            "SecretFile": "secret",
            "DropDuplicates": "9s",
            "Only": {"Types": ["message"], "Sender": ["bot-*"]},
            "Fields": {"tenant": "a"},
            "Names": {"from": "author"},
            "Omit": ["raw"],
            "IQ": "accept",
            "Routes": [{"Queue": "urgent", "Only": {"Body": ["*urgent*"]}}, {"Class": "Other", "Fields": {"level": 1}}],
        },
    }
    return {
        "RedisURL": f"redis://user:{SECRET}@127.0.0.1/0",
        "RedisNamespace": "ns",
        "LogLevel": "info",
        "RestURL": "http://127.0.0.1:5280/api",
        "RestUser": "admin@example.org",
        "RestPass": SECRET,
        "RestQueue": "rest",
        "JabberDomain": "example.org",
        "Concurrency": 9,
        "RestAuth": "basic",
        "Stats": True,
        "StatsUser": "ops",
        "StatsPass": SECRET,
        "StatsPort": 8080,
        "HealthBind": "127.0.0.1:8090",
        "ResponseQueue": "answers",
        "UncertainRetries": 3,
        "Backoff": {"Base": "1s", "Factor": 2, "Cap": "1h"},
        "Token": SECRET,
        "Tokens": {
            "app": {"Secret": _TEXT, "Allow": ["register"], "Hosts": ["example.org"], "Targets": ["hook"]},
            "signer": {"SecretFile": "secret", "Signed": True, "Window": "1d", "Queues": ["rest"]},
        },
        "Periodic": {
            "nightly": {
                "Cron": "30 4 * * *",
                "TimeZone": "Europe/Berlin",
                "Command": "register",
                "Arguments": {"user": "u", "host": "example.org", "password": SECRET},
                "Overlap": "skip",
                "Missed": "once",
            }
        },
        "Targets": targets,
        "Events": {"Listen": "127.0.0.1:8081", "Sources": sources},
        "Roster": {
            "Listen": "127.0.0.1:8082",
            "Target": "roster",
            "Path": "/roster/{user}",
            "Auth": {"Key": {"Value": SECRET}},
        },
    }
