"""What the codes of the findings of `restbroker check` mean; docs/check.md has these tables.

Always holds: a row is that of the page; its texts may have Markdown, with links as from `docs`.
"""

from typing import Final

from restbroker.console.codes.table import Row, Table

CONFIG: Final = Table(
    "`check` or the log, of the configuration",
    "docs/check.md",
    "**config**",
    {
        "Loaded, Unusable": Row(
            "the configuration file; if unusable, each mistake with its place, except those that show only "
            "after another is fixed",
            "nothing, or fix each key that it names; `restbroker config schema` describes all",
        ),
        "WorldReadable, WorldWritable": Row(
            "everyone on the machine can read or change a secret, a certificate's key, or `env.json`",
            "`chmod 600 FILE`, owned by the user that runs restbroker; change a secret that others could read",
        ),
        "TokenFitsNowhere": Row(
            "no target's queue fits both `Targets` and `Queues` of a token",
            "correct the names, or remove the token",
        ),
        "WeakToken": Row(
            "a token is README's example, which everyone knows, or has fewer than 16 characters",
            "make one with `restbroker token new`, for the brokers and the producers",
        ),
        "WeakStatsPass": Row(
            "`StatsPass` has fewer than 12 characters",
            "take a longer one: it can be tried ten times a second ([web.md](web.md#who-may-see-them))",
        ),
        "Periodic": Row(
            "what the `Cron` of a periodic command means, and the next three times ([periodic.md](periodic.md))",
            "nothing, if that was meant",
        ),
        "DangerousAllowed": Row(
            "a token may control the server itself",
            "nothing if intended; else remove `dangerous:…` from its `Allow`",
        ),
        "KeyMisspelt, KeyIgnored, UnknownVariable": Row(
            "a key read as another one; a key without effect; a variable that matches no key",
            "correct or remove it",
        ),
        "FairByUnknown, OrderByUnknown": Row(
            "`FairBy` or `OrderBy` names an argument that no command of the target has",
            "correct it; all jobs share one turn, or none has a key, otherwise",
        ),
        "CommandUnknown": Row(
            "`AtMostOnce`, `Slots` or `Expire` names no known command of the target",
            "correct it, unless a module of the server adds it",
        ),
        "NoDomain": Row(
            "no `JabberDomain`: each job must name its host",
            "set it, or have each job name its `host`",
        ),
        "DefaultURL, NoScheme, NoTLS": Row(
            "what restbroker assumes about the server's URL; TLS keys beside `http://`",
            "write the whole URL, or remove the keys without effect",
        ),
        "LoginInURL, NoCredentials, PlainLogin": Row(
            "where the login is from; there is none; it goes over a network unencrypted",
            "put the login into `RestUser` and `RestPassFile` (in `Targets`: `Auth`); use `https://` to "
            "another machine",
        ),
        "NoPasswords": Row(
            "`openfire-chat`: `Secret` cannot log users in, and there is no `PasswordsFile`",
            "set `PasswordsFile`, if jobs are to act as users",
        ),
        "PlainEvents": Row(
            "other machines reach `Events.Listen`; the sources' secrets go without TLS ([events.md](events.md))",
            "give `Events` `CertFile` and `KeyFile`, or listen on loopback",
        ),
        "SignedWithoutTLS": Row(
            "other machines reach `Events.Listen` without TLS; MongooseIM publishes only over TLS "
            "([mongooseim-sns.md](servers/mongooseim-sns.md#the-certificate))",
            "give `Events` `CertFile` and `KeyFile`, or put a TLS proxy in front",
        ),
        "PlainRabbitMQ": Row(
            "the login for RabbitMQ goes unencrypted over a network ([rabbitmq.md](rabbitmq.md))",
            "write `amqps://` in the source's `URL`",
        ),
        "PlainPages": Row(
            "other machines reach the web pages; their login goes without TLS ([web.md](web.md))",
            "set `StatsBind` to loopback, or put a TLS proxy in front",
        ),
        "PlainRosters": Row(
            "other machines reach `Listen` of `Roster`; rosters and their login go unencrypted "
            "([roster-service.md](roster-service.md))",
            "set it to loopback, or let only Prosody reach it",
        ),
        "NoRosterTarget": Row(
            "a target tells Prosody of changed rosters, but `Roster` has no `Target`",
            "set it to that target's name",
        ),
        "HostUnused": Row(
            "sentinels locate Redis, but `RedisURL` also names a host",
            "remove the host: `redis:///0`",
        ),
        "ShortShutdown": Row(
            "a stop may cut off requests in flight", "make `ShutdownTimeout` longer than `RequestTimeout`"
        ),
    },
)
REDIS: Final = Table(
    "`check`, of Redis",
    "docs/check.md",
    "**redis**",
    {
        "Unreachable, Refused": Row(
            "no answer or no login; a command that `run` needs and this Redis user may not call",
            "start Redis, or correct `RedisURL`; for `Refused` the login or its rights "
            "([sidekiq.md](sidekiq.md#a-redis-user))",
        ),
        "NotLookedAt": Row(
            "a command that operators' tools need and this Redis user may not call: their output lacks that part",
            "nothing, or give this user the rights ([sidekiq.md](sidekiq.md#a-redis-user))",
        ),
        "WrongType": Row(
            "a key of restbroker's has another type: Redis refuses every command on it",
            "find out who writes that key; rename it, or set `RedisNamespace`",
        ),
        "TooOld": Row(
            "Redis before 7.0 or Valkey before 7.2; `run` refuses these too",
            "install Redis 7.0, Valkey 7.2, or newer",
        ),
        "Cluster, Replica": Row(
            "Sidekiq's keys do not work with Redis Cluster; a replica takes no writes",
            "use one Redis master, or Sentinel",
        ),
        "NotSaved, SnapshotsOnly, SavedSometime, SavedEachSecond": Row(
            "what a crash of Redis loses: everything, everything since the last snapshot, some 30 s, about "
            "the last second",
            "set `appendonly yes` in `redis.conf`; to lose nothing also `appendfsync always`, which is slower",
        ),
        "TornFile": Row(
            "the append-only file is on, but this Redis user may not have it rewritten: after a power loss "
            "Redis' second start may lose a job ([guarantees.md](guarantees.md#a-power-loss-of-redis))",
            "`redis-cli ACL SETUSER restbroker '+bgrewriteaof'`; else run `redis-check-aof --fix` before "
            "you start Redis after a crash of its machine",
        ),
        "MarksNotSaved": Row(
            "Redis does not save each write: after its crash a command of `AtMostOnce` may be sent twice",
            "set `appendfsync always`, or remove the commands from `AtMostOnce`",
        ),
        "FailoverLoses": Row(
            "with Sentinel: the master accepts writes that no replica has ([failover.md](failover.md))",
            "set `min-replicas-to-write 1` in `redis.conf`",
        ),
        "DiskFailed": Row("the last save failed", "check Redis' log and its disk space"),
        "Eviction": Row(
            "at `maxmemory`, this policy removes keys, with `allkeys-…` whole queues",
            "set `maxmemory-policy noeviction`",
        ),
        "Full": Row(
            "`maxmemory` is reached: producers cannot push",
            "raise `maxmemory`, or free memory: `restbroker stats` shows long queues",
        ),
        "FewReplicas": Row(
            "fewer replicas are connected than `min-replicas-to-write` asks for: Redis refuses writes",
            "check the replicas, or lower the setting",
        ),
        "NearlyFull": Row(
            "more than 80 % of `maxmemory`, or without it of the machine's memory",
            "raise `maxmemory`, or find out why many jobs wait",
        ),
        "Clock": Row(
            "Redis' clock, by which jobs become due, is more than 1 s away from this machine's",
            "synchronise both clocks (NTP)",
        ),
        "SharedDatabase, QueueTaken": Row(
            "other Sidekiq processes use this database; one takes restbroker's jobs",
            "give restbroker a queue that no other Sidekiq process serves (`-q`, `:queues:`)",
        ),
        "NewQueue, QueueMisspelt, OtherNamespace, OtherDatabase": Row(
            "no job was ever pushed to this queue; where producers may push instead",
            "nothing before the first job; else correct `RestQueue`, `RedisNamespace` or the database, here "
            "or in the producers",
        ),
        "QueuePaused, TargetPaused, NotServed": Row(
            "jobs wait, and why; a pause with who, until when, and the reason given",
            "`restbroker queues resume NAME`, `restbroker targets resume NAME`, or start `restbroker run`",
        ),
        "QuietProcess": Row(
            "a process takes no more jobs (SIGTSTP, or Quiet in Sidekiq Web). Only a note while others serve its queue",
            "restart that process",
        ),
        "OrderStopped": Row(
            "jobs wait behind a dead one (`OnDead`)",
            "`restbroker order list`, then `order resume`, `skip` or `drop`",
        ),
        "OrderMixed": Row(
            "a process serves a queue with another `OrderBy` than this configuration, or none",
            "give all processes the same `OrderBy`, and update older ones",
        ),
        "OrderLeft": Row(
            "a target that is not in this configuration still holds keys: under a new name, what waits with them is sent",
            "rename it back until `restbroker order list` is empty, or delete the key that is named",
        ),
        "FairMixed": Row(
            "a process serves a queue with another `FairBy` than this configuration, or is older",
            "give all processes the same `FairBy` and `FairWeights`, and update older ones",
        ),
        "TokensMixed": Row(
            "a process serves a queue with other tokens than this configuration: names, grants or secrets differ",
            "give all processes the same `Token`, `Tokens` and secret files; rotate with `PreviousSecret`",
        ),
        "DeadSetFull": Row(
            "the dead set has reached `DeadLimit`: no job is taken",
            "retry or delete dead jobs (`restbroker dead`), or raise `DeadLimit`",
        ),
        "DeadTrimmed": Row(
            "Sidekiq processes trim the dead set before `DeadLimit` is reached; copies are in `restbroker:parked`",
            "raise Sidekiq's `dead_max_jobs`; `restbroker dead --trimmed` lists the trimmed jobs, "
            "`--restore JID` puts one back",
        ),
        "QueueNotServed": Row(
            "due jobs of restbroker stay in `retry` or `schedule`: no target here serves their queue",
            "start the restbroker that serves it, add the queue to a target, or move or delete them "
            "(`restbroker retries`, `restbroker scheduled`)",
        ),
        "LeftBehind, Recovering": Row(
            "jobs in progress of a process that is gone",
            "start `restbroker run`: it requeues them; `Recovering`: nothing, this is under way",
        ),
        "Orphans": Row(
            "jobs in progress whose process has no record in Redis",
            "run the command that it names once you are sure that the process is gone",
        ),
        "OriginalLeft": Row(
            "jobs that the Go original had in progress or would retry ([migrate.md](migrate.md))",
            "`restbroker migrate --dry-run`, then `restbroker migrate`",
        ),
        "Unknown": Row("a managed Redis hides its settings", "look up what it names at the provider"),
    },
)
SERVED: Final = Table(
    "`check`, of restbroker's own services",
    "docs/check.md",
    "**Roster, Events**",
    {
        "Serving, NotServing": Row(
            "the service answers; nothing answers: clients get no contacts, events are refused",
            "for `NotServing`, start `restbroker run` or `restbroker roster serve`",
        ),
        "NotOurs": Row(
            "another program answers, another configuration, or a service without its Redis",
            "stop the other program, or change `Listen` of this section",
        ),
        "NotLookedAt": Row(
            "the user who runs the check cannot read the secret", "run the check as the user that runs restbroker"
        ),
        "EventCame": Row("`check --events`: the message's event arrived", "nothing"),
        "EventUnwanted": Row(
            "`check --events`: the event arrived, but `Only`, `Except` or `Routes` exclude it",
            "correct these, or name other addresses (`--from`, `--to`)",
        ),
        "EventNotSent": Row(
            "`check --events`: the server did not accept the test message, with its reason",
            "see the message; `restbroker check` says more about the target",
        ),
        "EventLost": Row(
            "`check --events`: the server accepted the message, but no event arrived in time",
            "check what it names at the server (module, URL, secret, filter), and both logs",
        ),
        "EventNotTested": Row(
            "`check --events`: a target, address or process is missing, or Redis is away",
            "name it (`--target`, `--from`, `--to`), or start it, as it says",
        ),
        "RabbitMQ": Row("the login at RabbitMQ works; its exchanges and queue are as configured", "nothing"),
        "RabbitMQAway": Row(
            "RabbitMQ does not answer, or ended the connection", "start RabbitMQ, or correct the source's `URL`"
        ),
        "RabbitMQDenied": Row(
            "RabbitMQ refuses the login, or the user may not do something",
            "correct the login, or give the user the rights that it names",
        ),
        "RabbitMQSilent": Row(
            "RabbitMQ answers, but its queue does not, says the process that reads it",
            "`rabbitmq-queues quorum_status NAME` shows the queue's nodes",
        ),
        "RabbitMQUnread": Row(
            "no process reads the queue, and none says why",
            "nothing while restbroker is stopped; else check its log",
        ),
        "RabbitMQMissing, RabbitMQDiffers": Row(
            "an exchange is missing (`Create` says whether it will be created); an exchange or the queue "
            "differs from the configuration ([rabbitmq.md](rabbitmq.md#exchanges))",
            "correct `Exchanges` or `Queue`, or set `Create`; delete one of the wrong kind in RabbitMQ",
        ),
        "Streams": Row("users' streams are available ([openfire-events.md](servers/openfire-events.md))", "nothing"),
        "OpenfireAway": Row("Openfire does not answer", "start Openfire, or correct the `URL` of its target"),
        "OpenfireDenied": Row(
            "Openfire does not let a user in: wrong or missing password",
            "correct their line in `PasswordsFile`",
        ),
        "OpenfireJammed": Row(
            "a user has a session of the Chat API but no stream: Openfire gives no new ones "
            "([openfire-events.md](servers/openfire-events.md#one-login-after-the-other))",
            "restart Openfire",
        ),
        "NotInstalled": Row(
            "the extra for reading from RabbitMQ is missing",
            "`pip install --require-hashes -r requirements/amqp.lock` in restbroker's environment",
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
            "no connection, no HTTP, or no TLS",
            "start the server; correct the URL (host, port, `http` or `https`); for TLS its certificate, or `CAFile`",
        ),
        "Silent, Unfinished": Row(
            "it does not answer in time (`RequestTimeout`), so its check stops; its answers are so slow "
            "that the check stopped after 30 s",
            "check the server's load and log; raise `RequestTimeout` if this is normal",
        ),
        "NotTheApi, Redirect": Row(
            "something else answers; restbroker follows no redirects",
            "see the next finding: a URL that works, or what to add to the server's configuration",
        ),
        "FoundElsewhere, FoundNowhere": Row(
            "the URL that would work, or the lines that enable the API",
            "use that URL, or add those lines to the server's configuration",
        ),
        "Unwell": Row(
            "it is starting or stopping, or a proxy answers for it",
            "wait until it has started; else check its log and the proxy's",
        ),
        "LoginRefused, BadLogin, Refused": Row(
            "the login; a secret that cannot be read; a proxy or firewall that refuses",
            "correct the login or its password file, and the account at the server",
        ),
        "NoProbe": Row(
            "`http`: `AtMostOnce` without `Probe`: behind a gateway an outage may pass for a target that works",
            "set `Probe` to a path that the API itself answers",
        ),
        "LoginUnknown": Row(
            "`http` without `Probe`: the login is not tested ([http.md](http.md))",
            "set `Probe` to a path that requires the login",
        ),
        "Forbidden": Row(
            "the login may not even call `status` or `connected_users_number`: the target would be paused",
            "add the printed lines to the server's permissions",
        ),
        "SomeForbidden": Row(
            "some common commands are forbidden, perhaps on purpose",
            "nothing if intended; else add the printed lines to the server's permissions, for an account of "
            "ejabberd 26.07 also to its `access_rules`",
        ),
        "ModuleMissing": Row(
            "some common commands do not exist; `prosody-roster`: no roster module under the URL for this host",
            "load the module that it names",
        ),
        "OtherHost, OtherSchema": Row(
            "`mongooseim`: the listener answers to another `Host`; the URL leads to another endpoint than "
            "`Schema` ([mongooseim.md](servers/mongooseim.md))",
            "use the `Host` or the URL that it names",
        ),
        "OtherPort, OtherPath": Row(
            "`openfire-rest`: the URL leads to the port of web clients, or not to the plugin "
            "([openfire.md](servers/openfire.md))",
            "use the URL that it names",
        ),
        "NotAdministrator": Row(
            "`openfire-chat`: the login is not an administrator's, so it cannot log in users without passwords "
            "of their own ([openfire.md](servers/openfire.md)); or Openfire answers 500",
            "log in as an administrator, by name without a domain, or give each user a line in `PasswordsFile`",
        ),
        "RoomsBroken": Row(
            "`openfire-chat`: Openfire answers 500 when asked for a room ([openfire.md](servers/openfire.md))",
            "remove the plugin REST API from this Openfire if it is there, or see Openfire's log",
        ),
        "Redirected, PluginDisabled": Row(
            "`openfire-rest`: Openfire's console answers instead of the plugin; also `openfire-chat`: the "
            "plugin is switched off",
            "install or switch on the plugin in Openfire's console",
        ),
        "DatabaseAway": Row(
            "`mongooseim`: it answers but cannot reach its database",
            "check its log and its database",
        ),
        "OpenAdmin": Row(
            "`mongooseim`: its listener requires no login, and it is on another machine",
            "set `username` and `password` of the listener, and `Auth` of the target",
        ),
        "OpenRefresh": Row(
            "`prosody-roster`: the module requires no login, so others can refresh users "
            "([roster-refresh.md](roster-refresh.md))",
            "give the module a login, or let only this machine reach it",
        ),
        "OtherVersion": Row(
            "`ServerVersion` is not the server's",
            "correct it, or leave it out: restbroker asks the server",
        ),
        "NoApiVersions": Row(
            "`ApiVersion` is set, but the server is older than 24.02 and would refuse every job: none is taken",
            "remove `ApiVersion`, or upgrade ejabberd to 24.02",
        ),
        "UnknownHost": Row(
            "the server has no virtual host of the name `JabberDomain`",
            "set `JabberDomain` to one of the server's hosts, which it names, or add the host to the server",
        ),
        "NoDomain": Row(
            "no `JabberDomain` (in `Targets`: `Domain`): each job must name its host",
            "set it to one of the server's hosts, which it names, or have each job name its `host`",
        ),
        "HostsHidden": Row(
            "the login may not list the server's hosts, so `JabberDomain` was not checked",
            "allow the login `registered_vhosts` with the printed lines, or leave it so",
        ),
        "SlowLogin": Row(
            "each request spends more than 4 ms on the login: passwords are stored as SCRAM. Says whether "
            "the server can issue tokens, and what is missing",
            "use tokens (`RestAuth`), or store this account's password in plain",
        ),
        "NoToken": Row(
            "`RestAuth` asks for tokens, but ejabberd issues none. A warning with `auto`, which continues with Basic",
            "do what it prints, or set `RestAuth` to `basic`",
        ),
        "TokenForbidden": Row(
            "`RestAuth` asks for tokens, but they may do less than the login",
            "add the printed lines to `ejabberd.yml`, or set `RestAuth` to `basic`",
        ),
    },
)
TABLES: Final = (
    CONFIG,
    REDIS,
    SERVED,
    TARGET,
)
