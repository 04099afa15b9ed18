"""What the codes mean of what `restbroker check` finds. docs/check.md has these tables.

Always holds: a row is the page's; its texts may have Markdown, with links as from `docs`.
"""

from typing import Final

from restbroker.console.codes.table import Row, Table

CONFIG: Final = Table(
    "`check` or the log, of the configuration",
    "docs/check.md",
    "**config**",
    {
        "Loaded, Unusable": Row(
            "the file; when it cannot be used, each mistake is named once, with its place, but what can only be judged when another one is mended",
            "nothing, or mend each key that it names; `restbroker config schema` describes all of them",
        ),
        "WorldReadable, WorldWritable": Row(
            "everybody on the machine can read a secret or the key of a certificate, or change one, or `env.json`",
            "`chmod 600 FILE`, and give it to the user that restbroker runs as; a secret that others could read is to be changed",
        ),
        "TokenFitsNowhere": Row(
            "no queue of any target fits both `Targets` and `Queues` of a token",
            "correct the names, or take the token out",
        ),
        "DangerousAllowed": Row(
            "a token that may touch the server itself",
            "nothing if it is meant so; else take `dangerous:…` out of the token's `Allow`",
        ),
        "KeyMisspelt, KeyIgnored, UnknownVariable": Row(
            "a key that is read as another one; one that does nothing; a variable that is no key",
            "correct the key or the variable as it says, or take it out",
        ),
        "NoDomain": Row(
            "`JabberDomain` is not given: each job must name its host",
            "set `JabberDomain`, or have each job name its `host`",
        ),
        "DefaultURL, NoScheme, NoTLS": Row(
            "what is assumed about the server's URL; TLS keys beside `http://`",
            "write the whole URL, or take the keys out that do nothing",
        ),
        "LoginInURL, NoCredentials, PlainLogin": Row(
            "where the login comes from; there is none; it goes unencrypted over a network",
            "put the login into `RestUser` and `RestPassFile` (in `Targets`: `Auth`); use `https://` to a server on another machine",
        ),
        "NoPasswords": Row(
            "kind `openfire-chat`: the target has a `Secret`, which logs no users in, and no `PasswordsFile`",
            "give the target a `PasswordsFile`, if jobs are to act as users",
        ),
        "PlainEvents": Row(
            "the secrets of event sources go unencrypted: others can reach `Events.Listen`, and there is no TLS ([events.md](events.md))",
            "give `Events` a `CertFile` and a `KeyFile`, or listen on loopback",
        ),
        "SignedWithoutTLS": Row(
            "others can reach `Events.Listen`, and there is no TLS, without which MongooseIM publishes nothing ([mongooseim-sns.md](servers/mongooseim-sns.md#the-certificate))",
            "give `Events` a `CertFile` and a `KeyFile`, or put a proxy with TLS before it",
        ),
        "PlainRabbitMQ": Row(
            "the login for RabbitMQ goes unencrypted over a network ([rabbitmq.md](rabbitmq.md))",
            "write `amqps://` in the source's `URL`",
        ),
        "PlainPages": Row(
            "the login of the web pages goes unencrypted: others can reach their address, and there is no TLS ([web.md](web.md))",
            "set `StatsBind` to loopback, or put a proxy with TLS before it",
        ),
        "PlainRosters": Row(
            "rosters and the login for them go unencrypted: others can reach `Listen` of `Roster` ([roster-service.md](roster-service.md))",
            "set `Listen` of `Roster` to loopback, or let only Prosody reach it",
        ),
        "NoRosterTarget": Row(
            "there is a target that tells Prosody of changed rosters, and `Roster` does not name it as its `Target`",
            "set `Target` of `Roster` to that target's name",
        ),
        "HostUnused": Row(
            "sentinels say where Redis is, and `RedisURL` names a host as well",
            "leave it out of `RedisURL`: `redis:///0`",
        ),
        "ShortShutdown": Row(
            "a stop would cut off running requests", "make `ShutdownTimeout` longer than `RequestTimeout`"
        ),
    },
)
REDIS: Final = Table(
    "`check`, of Redis",
    "docs/check.md",
    "**redis**",
    {
        "Unreachable, Refused": Row(
            "no answer or no login; a command that this Redis user may not call, and that `restbroker run` needs",
            "start Redis, or correct `RedisURL`; for `Refused` its login, or the rights of this Redis user ([sidekiq.md](sidekiq.md#first-of-all))",
        ),
        "NotLookedAt": Row(
            'a command that only the terminal gives and this Redis user may not call: what it would show is not in the list. [sidekiq.md](sidekiq.md#first-of-all), "A Redis user", has both sets of rights',
            "nothing, or give this Redis user the rights for what is to be looked at",
        ),
        "WrongType": Row(
            "a key that restbroker works with is of another type, with its name: Redis refuses whatever touches it",
            "find out who writes that key; rename it or move it away, or give restbroker a `RedisNamespace` of its own",
        ),
        "TooOld": Row(
            "Redis before 7.0, Valkey before 7.2. `restbroker run` refuses these, too",
            "install Redis 7.0 or Valkey 7.2, or newer",
        ),
        "Cluster, Replica": Row(
            "Sidekiq's keys do not fit into Redis Cluster; a replica takes no writes",
            "use a Redis that is a master of its own, or with Sentinel",
        ),
        "NotSaved, SnapshotsOnly, SavedSometime, SavedEachSecond": Row(
            "what a crash of Redis costs: everything, since the last snapshot, some 30 s, about the last second. `appendfsync always` costs nothing but speed",
            "set `appendonly yes` in `redis.conf`, and `appendfsync always` if nothing may be lost",
        ),
        "TornFile": Row(
            "the append-only file is on, and this Redis user may not ask for it to be written again: after a power loss a job may be lost at Redis' second start ([guarantees.md](guarantees.md#a-power-loss-of-redis))",
            "`redis-cli ACL SETUSER restbroker '+bgrewriteaof'`; where that cannot be, run `redis-check-aof --fix` on the file before each start of Redis after a crash of its machine",
        ),
        "MarksNotSaved": Row(
            "`AtMostOnce` names commands, and Redis does not save each write: after a crash of Redis one of them may be sent a second time",
            "set `appendfsync always`, or take the commands out of `AtMostOnce`",
        ),
        "FailoverLoses": Row(
            "with Sentinel: the master takes writes that no replica has; see [failover.md](failover.md)",
            "set `min-replicas-to-write 1` in `redis.conf`",
        ),
        "DiskFailed": Row("the last attempt to save did not work", "look at Redis' log, and for room on its disk"),
        "Eviction": Row(
            "at `maxmemory`, this policy removes keys; with `allkeys-…` whole queues",
            "set `maxmemory-policy noeviction`",
        ),
        "Full": Row(
            "`maxmemory` is reached: producers cannot push",
            "raise `maxmemory`, or make room: `restbroker stats` shows what is long",
        ),
        "NearlyFull": Row(
            "more than 80 % of `maxmemory`, or of the machine's memory where there is no `maxmemory`",
            "raise `maxmemory`, or find out why so many jobs wait",
        ),
        "Clock": Row(
            "jobs become due by Redis' clock; it is more than 1 s away from this machine's",
            "have both machines keep time (NTP)",
        ),
        "SharedDatabase, QueueTaken": Row(
            "other Sidekiq processes use this database; one of them takes our jobs",
            "give restbroker a queue that no other Sidekiq process takes from (`-q`, `:queues:`)",
        ),
        "NewQueue, QueueMisspelt, OtherNamespace, OtherDatabase": Row(
            "nothing was ever pushed to the queue; where the producers may push instead",
            "nothing before the first job; else correct `RestQueue`, `RedisNamespace` or the database, here or at the producers",
        ),
        "QueuePaused, TargetPaused, NotServed": Row(
            "jobs wait, and why; who paused the queue or the target, until when and why, where somebody said so",
            "`restbroker queues resume NAME`, `restbroker targets resume NAME`, or start `restbroker run`",
        ),
        "QuietProcess": Row(
            "a process takes no more jobs until it is restarted: SIGTSTP, or Quiet in Sidekiq Web. A note while others take jobs from its queue",
            "restart that process",
        ),
        "DeadSetFull": Row(
            "as many jobs are parked as `DeadLimit` says: none is taken",
            "look through them (`restbroker dead`), retry or delete them, or raise `DeadLimit`",
        ),
        "DeadTrimmed": Row(
            "Sidekiq processes trim the dead set before `DeadLimit` is reached; copies of parked jobs are in `restbroker:parked`",
            "raise `dead_max_jobs` of Sidekiq; `restbroker dead --trimmed` lists what is gone, `--restore JID` puts it back",
        ),
        "QueueNotServed": Row(
            "due jobs that restbroker wrote stay in `retry` or `schedule`: no target of this configuration serves their queue",
            "start the restbroker that serves it, or add the queue to a target; or move or delete them (`restbroker retries`, `restbroker scheduled`)",
        ),
        "LeftBehind, Recovering": Row(
            "jobs in the hands of a process that is gone",
            "start `restbroker run`: it gives them back; `Recovering`: nothing, it is being done",
        ),
        "Orphans": Row(
            "jobs in hand of an identity that is registered nowhere, with the command that has them given back",
            "run the command that it names, once that process is surely gone",
        ),
        "OriginalLeft": Row(
            "jobs that the Go original had in hand or would try again; [migrate.md](migrate.md)",
            "`restbroker migrate --dry-run`, then `restbroker migrate`",
        ),
        "Unknown": Row("a managed Redis hides its settings", "look up in the provider's settings what it names"),
    },
)
SERVED: Final = Table(
    "`check`, of what others reach restbroker by",
    "docs/check.md",
    "**Roster, Events**",
    {
        "Serving, NotServing": Row(
            "somebody answers there; nobody does, as before the broker's start: clients get no contacts, and events are refused",
            "start `restbroker run` or `restbroker roster serve`, if nobody does",
        ),
        "NotOurs": Row(
            "what answers there is another program, another configuration, or a service without its Redis",
            "end the other program, or change `Listen` of this section",
        ),
        "NotLookedAt": Row(
            "the secret cannot be read by whoever runs the check", "run the check as the user that restbroker runs as"
        ),
        "EventCame": Row("`check --events`: the event of a message came", "nothing"),
        "EventUnwanted": Row(
            "`check --events`: the event came, and `Only`, `Except` or `Routes` leave it out",
            "correct these where such events are wanted, or name other addresses (`--from`, `--to`)",
        ),
        "EventNotSent": Row(
            "`check --events`: the server did not take the message that it was to tell of",
            "as the message says; `restbroker check` says more about the target",
        ),
        "EventLost": Row(
            "`check --events`: the server took the message, and its event did not come in time",
            "what it names at the server: module, URL, secret, filter; and the logs of both",
        ),
        "EventNotTested": Row(
            "`check --events`: a target or an address has to be named, Redis is away, or no way is known for this kind",
            "name it (`--target`, `--from`, `--to`), as it says",
        ),
        "RabbitMQ": Row("the login at RabbitMQ works, or its exchanges and queue are as configured", "nothing"),
        "RabbitMQAway": Row(
            "RabbitMQ does not answer, or ended the connection", "start RabbitMQ, or correct the source's `URL`"
        ),
        "RabbitMQDenied": Row(
            "RabbitMQ refuses the login, or the user may not do something",
            "correct the login, or give the user the rights that it names",
        ),
        "RabbitMQSilent": Row(
            "RabbitMQ answers, and the queue does not, as the process says that reads it",
            "as it says: `rabbitmq-queues quorum_status NAME` shows the queue's nodes",
        ),
        "RabbitMQUnread": Row(
            "nobody reads the queue now, and no process says why",
            "nothing while restbroker does not run; else look into its log",
        ),
        "RabbitMQMissing, RabbitMQDiffers": Row(
            "an exchange is not there, and will be made as configured, or not (`Create`); an exchange or the queue is another one than is configured ([rabbitmq.md](rabbitmq.md#exchanges))",
            "correct `Exchanges` or `Queue`, or let restbroker make it (`Create`); delete in RabbitMQ what is of another kind",
        ),
        "Streams": Row(
            "the streams of users can be asked for ([openfire-events.md](servers/openfire-events.md))", "nothing"
        ),
        "OpenfireAway": Row("Openfire does not answer", "start Openfire, or correct the `URL` of its target"),
        "OpenfireDenied": Row(
            "Openfire does not let a user in: his password is wrong, or missing", "correct his line in `PasswordsFile`"
        ),
        "OpenfireJammed": Row(
            "a user has a session of the Chat API and no stream: Openfire gives no new ones ([openfire-events.md](servers/openfire-events.md#two-connections-of-one-name))",
            "restart Openfire",
        ),
        "NotInstalled": Row(
            "what reads from RabbitMQ is an extra: `pip install --require-hashes -r requirements/amqp.lock`",
            "install the extra: `pip install --require-hashes -r requirements/amqp.lock` into the environment of restbroker",
        ),
    },
)
TARGET: Final = Table(
    "`check`, of a target",
    "docs/check.md",
    "**a target**",
    {
        "Limits, NeverReached": Row(
            "`RateLimit` and `MaxInFlight`; a `Concurrency` that `MaxInFlight` makes pointless",
            "nothing, or lower `Concurrency` to `MaxInFlight`",
        ),
        "Unreachable, HangsUp, TlsFailed": Row(
            "no connection, or none that speaks HTTP, or no TLS",
            "start the server; correct the URL: host, port, `http` or `https`; for TLS its certificate, or `CAFile`",
        ),
        "Silent, Unfinished": Row(
            "it takes the request and does not answer in time (`RequestTimeout`): nothing more is asked; its answers are so slow that the check of this target was ended after 30 s",
            "look at the server's load and log; raise `RequestTimeout` if it is meant to take so long",
        ),
        "NotTheApi, Redirect": Row(
            "something else answers; restbroker follows no redirect",
            "correct the URL: the finding behind it names the one that works, or what to add to the server's configuration",
        ),
        "FoundElsewhere, FoundNowhere": Row(
            "after one of these: the URL that would work, or the lines that offer the API",
            "take that URL, or add those lines to the server's configuration",
        ),
        "Unwell": Row(
            "it is starting, stopping, or a proxy answers in its place",
            "wait until it has started; else look at its log, and at the proxy's",
        ),
        "LoginRefused, BadLogin, Refused": Row(
            "the login; a secret that cannot be read; a proxy or firewall that refuses",
            "correct the login or the file with its password, and the account at the server",
        ),
        "LoginUnknown": Row(
            "kind `http` without `Probe`: whether the login is taken cannot be told ([http.md](http.md))",
            "set `Probe` to a path that asks for the login",
        ),
        "Forbidden": Row(
            "the login may not even ask for `status` or `connected_users_number`: the target would be paused",
            "extend the server's permissions by the lines that it prints",
        ),
        "SomeForbidden": Row(
            "some commonly needed commands are forbidden, which may be meant so",
            "nothing if it is meant so; else extend the server's permissions by the lines that it prints, for an account of ejabberd 26.07 its `access_rules` too",
        ),
        "ModuleMissing": Row(
            "some commonly needed commands do not exist, and the module that brings them; kind `prosody-roster`: there is no roster module under the URL for this host",
            "load the module that it names",
        ),
        "OtherHost, OtherSchema": Row(
            "kind `mongooseim`: the listener answers to another `Host`, which is told; the URL leads to another endpoint than `Schema` says ([mongooseim.md](servers/mongooseim.md))",
            "take the `Host` or the URL that it names",
        ),
        "OtherPort, OtherPath": Row(
            "kind `openfire-rest`: the URL leads to the port of web clients, or not to where the plugin is; the right one is told ([openfire.md](servers/openfire.md))",
            "take the URL that it names",
        ),
        "NotAdministrator": Row(
            "kind `openfire-chat`: the target's login is no administrator's, and logs in no user who has no password of his own ([openfire.md](servers/openfire.md)); or Openfire answers 500 to the question whether it is",
            "log the target in as an administrator, by the name alone without a domain, or give each user a line in `PasswordsFile`",
        ),
        "Redirected, PluginDisabled": Row(
            "kind `openfire-rest`: Openfire's console answers with its login page in the plugin's place; of `openfire-chat` too: the plugin is switched off",
            "install or switch on the plugin in Openfire's console",
        ),
        "DatabaseAway": Row(
            "kind `mongooseim`: it answers, and cannot reach its database",
            "look at MongooseIM's log, and at its database",
        ),
        "OpenAdmin": Row(
            "kind `mongooseim`: on another machine, and its listener asks for no login",
            "set `username` and `password` of that listener, and `Auth` of the target",
        ),
        "OpenRefresh": Row(
            "kind `prosody-roster`: others can have users refreshed, since the module asks for no login ([roster-refresh.md](roster-refresh.md))",
            "give the module a login, or let only this machine reach it",
        ),
        "OtherVersion": Row(
            "`ServerVersion` is not the server's", "correct `ServerVersion`, or leave it out: the server is asked"
        ),
        "NoApiVersions": Row(
            "`ApiVersion` is set, and the server is older than 24.02: it would refuse every job, so that none is taken",
            "take `ApiVersion` out, or upgrade ejabberd to 24.02",
        ),
        "UnknownHost, NoDomain, HostsHidden": Row(
            "`JabberDomain` and the server's virtual hosts",
            "set `JabberDomain` to one of the server's hosts, which it names",
        ),
        "SlowLogin": Row(
            "the server spends more than 4 ms on the login with each request: passwords stored as SCRAM. Whether it can issue tokens instead, and what it lacks",
            "use tokens (`RestAuth`), as it says, or store this account's password in plain",
        ),
        "NoToken, TokenForbidden": Row(
            "`RestAuth` asks for tokens: ejabberd issues none, or they may do nothing, or less than the login. A warning with `auto`, which goes on with Basic",
            "add the lines that it prints to `ejabberd.yml`, or set `RestAuth` to `basic`",
        ),
    },
)
TABLES: Final = (
    CONFIG,
    REDIS,
    SERVED,
    TARGET,
)
