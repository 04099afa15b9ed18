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
            "the configuration file; if it cannot be used, each mistake is named once, with its place, except "
            "those that can only be seen after another is fixed",
            "nothing, or fix each key that it names; `restbroker config schema` describes all of them",
        ),
        "WorldReadable, WorldWritable": Row(
            "everyone on the machine can read or change a secret, the key of a certificate, or `env.json`",
            "`chmod 600 FILE`, and make restbroker's user its owner; change a secret that others could read",
        ),
        "TokenFitsNowhere": Row(
            "no queue of any target fits both `Targets` and `Queues` of a token",
            "correct the names, or remove the token",
        ),
        "DangerousAllowed": Row(
            "a token that may control the server itself",
            "nothing if this is intended; else remove `dangerous:…` from the token's `Allow`",
        ),
        "KeyMisspelt, KeyIgnored, UnknownVariable": Row(
            "a key that is read as another one; a key without effect; a variable that matches no key",
            "correct the key or the variable as it says, or remove it",
        ),
        "NoDomain": Row(
            "`JabberDomain` is not given: each job must name its host",
            "set `JabberDomain`, or have each job name its `host`",
        ),
        "DefaultURL, NoScheme, NoTLS": Row(
            "what is assumed about the server's URL; TLS keys beside `http://`",
            "write the whole URL, or remove the keys without effect",
        ),
        "LoginInURL, NoCredentials, PlainLogin": Row(
            "the origin of the login; there is no login; it goes over a network unencrypted",
            "put the login into `RestUser` and `RestPassFile` (in `Targets`: `Auth`); use `https://` to a server on another machine",
        ),
        "NoPasswords": Row(
            "kind `openfire-chat`: the target has a `Secret`, which cannot log users in, and no `PasswordsFile`",
            "give the target a `PasswordsFile`, if jobs are to act as users",
        ),
        "PlainEvents": Row(
            "the secrets of event sources go unencrypted: `Events.Listen` is reachable from other machines, "
            "without TLS ([events.md](events.md))",
            "give `Events` a `CertFile` and a `KeyFile`, or listen on loopback",
        ),
        "SignedWithoutTLS": Row(
            "`Events.Listen` is reachable from other machines without TLS, and MongooseIM publishes only over "
            "TLS ([mongooseim-sns.md](servers/mongooseim-sns.md#the-certificate))",
            "give `Events` a `CertFile` and a `KeyFile`, or put a TLS proxy in front",
        ),
        "PlainRabbitMQ": Row(
            "the login for RabbitMQ goes unencrypted over a network ([rabbitmq.md](rabbitmq.md))",
            "write `amqps://` in the source's `URL`",
        ),
        "PlainPages": Row(
            "the login of the web pages goes unencrypted: they are reachable from other machines, without TLS "
            "([web.md](web.md))",
            "set `StatsBind` to loopback, or put a TLS proxy in front",
        ),
        "PlainRosters": Row(
            "rosters and their login go unencrypted: `Listen` of `Roster` is reachable from other machines "
            "([roster-service.md](roster-service.md))",
            "set `Listen` of `Roster` to loopback, or let only Prosody reach it",
        ),
        "NoRosterTarget": Row(
            "a target tells Prosody of changed rosters, but `Roster` does not name it as its `Target`",
            "set `Target` of `Roster` to that target's name",
        ),
        "HostUnused": Row(
            "sentinels locate Redis, but `RedisURL` also names a host",
            "remove the host from `RedisURL`: `redis:///0`",
        ),
        "ShortShutdown": Row(
            "a stop would cut off requests in flight", "make `ShutdownTimeout` longer than `RequestTimeout`"
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
            "start Redis, or correct `RedisURL`; for `Refused` its login, or the rights of this Redis user ([sidekiq.md](sidekiq.md#a-redis-user))",
        ),
        "NotLookedAt": Row(
            "a command that only operators' tools use and this Redis user may not call: its part is missing "
            'from their output. [sidekiq.md](sidekiq.md#a-redis-user), "A Redis user", has both sets of rights',
            "nothing, or give this Redis user the rights for these tools",
        ),
        "WrongType": Row(
            "a key of restbroker's has another type: Redis refuses every command on it",
            "find out who writes that key; rename it, or give restbroker its own `RedisNamespace`",
        ),
        "TooOld": Row(
            "Redis before 7.0 or Valkey before 7.2. `restbroker run` refuses these too",
            "install Redis 7.0 or Valkey 7.2, or newer",
        ),
        "Cluster, Replica": Row(
            "Sidekiq's keys do not work with Redis Cluster; a replica takes no writes",
            "use a single Redis master, or Sentinel",
        ),
        "NotSaved, SnapshotsOnly, SavedSometime, SavedEachSecond": Row(
            "what a crash of Redis loses: everything, everything since the last snapshot, some 30 s, about the "
            "last second. `appendfsync always` loses nothing and is slower",
            "set `appendonly yes` in `redis.conf`, and `appendfsync always` if you must not lose anything",
        ),
        "TornFile": Row(
            "the append-only file is on, and this Redis user may not have it rewritten: after a power loss "
            "Redis' second start may lose a job ([guarantees.md](guarantees.md#a-power-loss-of-redis))",
            "`redis-cli ACL SETUSER restbroker '+bgrewriteaof'`; where that is impossible, run "
            "`redis-check-aof --fix` on the file before you start Redis after a crash of its machine",
        ),
        "MarksNotSaved": Row(
            "`AtMostOnce` names commands, but Redis does not save each write: after a crash of Redis one of "
            "them may be sent twice",
            "set `appendfsync always`, or remove the commands from `AtMostOnce`",
        ),
        "FailoverLoses": Row(
            "with Sentinel: the master accepts writes that no replica has; see [failover.md](failover.md)",
            "set `min-replicas-to-write 1` in `redis.conf`",
        ),
        "DiskFailed": Row("the last attempt to save failed", "check Redis' log and its disk space"),
        "Eviction": Row(
            "at `maxmemory`, this policy removes keys, with `allkeys-…` whole queues",
            "set `maxmemory-policy noeviction`",
        ),
        "Full": Row(
            "`maxmemory` is reached: producers cannot push",
            "raise `maxmemory`, or free memory: `restbroker stats` shows long queues",
        ),
        "NearlyFull": Row(
            "more than 80 % of `maxmemory`, or of the machine's memory where there is no `maxmemory`",
            "raise `maxmemory`, or find out why many jobs wait",
        ),
        "Clock": Row(
            "jobs become due by Redis' clock; it is more than 1 s away from this machine's",
            "synchronise both clocks (NTP)",
        ),
        "SharedDatabase, QueueTaken": Row(
            "other Sidekiq processes use this database; one of them takes restbroker's jobs",
            "give restbroker a queue that no other Sidekiq process serves (`-q`, `:queues:`)",
        ),
        "NewQueue, QueueMisspelt, OtherNamespace, OtherDatabase": Row(
            "no job was ever pushed to this queue; where producers may push instead",
            "nothing before the first job; else correct `RestQueue`, `RedisNamespace` or the database, here or "
            "in the producers",
        ),
        "QueuePaused, TargetPaused, NotServed": Row(
            "jobs wait, and why; who paused the queue or the target, until when, and why if they gave a reason",
            "`restbroker queues resume NAME`, `restbroker targets resume NAME`, or start `restbroker run`",
        ),
        "QuietProcess": Row(
            "a process takes no more jobs until it is restarted: SIGTSTP, or Quiet in Sidekiq Web. Only a note "
            "while others serve its queue",
            "restart that process",
        ),
        "DeadSetFull": Row(
            "the dead set has reached `DeadLimit`: no job is taken",
            "retry or delete dead jobs (`restbroker dead`), or raise `DeadLimit`",
        ),
        "DeadTrimmed": Row(
            "Sidekiq processes trim the dead set before `DeadLimit` is reached; copies of dead jobs are in "
            "`restbroker:parked`",
            "raise `dead_max_jobs` of Sidekiq; `restbroker dead --trimmed` lists the trimmed jobs, `--restore "
            "JID` puts one back",
        ),
        "QueueNotServed": Row(
            "due jobs that restbroker wrote stay in `retry` or `schedule`: no target of this configuration serves their queue",
            "start the restbroker that serves it, or add the queue to a target, or move or delete the jobs "
            "(`restbroker retries`, `restbroker scheduled`)",
        ),
        "LeftBehind, Recovering": Row(
            "jobs in progress of a process that is gone",
            "start `restbroker run`: it returns them to their queues; `Recovering`: nothing, this is under way",
        ),
        "Orphans": Row(
            "jobs in progress of an identity that is registered nowhere, with the command that returns them",
            "run the command that it names once you are sure that the process is gone",
        ),
        "OriginalLeft": Row(
            "jobs that the Go original had in progress or would retry; [migrate.md](migrate.md)",
            "`restbroker migrate --dry-run`, then `restbroker migrate`",
        ),
        "Unknown": Row("a managed Redis hides its settings", "look up what it names in the provider's settings"),
    },
)
SERVED: Final = Table(
    "`check`, of restbroker's own services",
    "docs/check.md",
    "**Roster, Events**",
    {
        "Serving, NotServing": Row(
            "the service answers; nothing answers, as before the broker's start: clients get no contacts, and "
            "events are refused",
            "start `restbroker run` or `restbroker roster serve` if nothing answers",
        ),
        "NotOurs": Row(
            "another program answers there, another configuration, or a service without its Redis",
            "stop the other program, or change `Listen` of this section",
        ),
        "NotLookedAt": Row(
            "the user who runs the check cannot read the secret", "run the check as the user that restbroker runs as"
        ),
        "EventCame": Row("`check --events`: the message's event arrived", "nothing"),
        "EventUnwanted": Row(
            "`check --events`: the event arrived, and `Only`, `Except` or `Routes` exclude it",
            "correct these if you want such events, or name other addresses (`--from`, `--to`)",
        ),
        "EventNotSent": Row(
            "`check --events`: the server did not accept the test message",
            "see the message; `restbroker check` says more about the target",
        ),
        "EventLost": Row(
            "`check --events`: the server accepted the message, but its event did not arrive in time",
            "check what it names at the server: module, URL, secret, filter; and both logs",
        ),
        "EventNotTested": Row(
            "`check --events`: a target or an address is missing, or Redis is away",
            "name it (`--target`, `--from`, `--to`) as it says",
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
            "RabbitMQ answers, but its queue does not, says the process that reads it",
            "`rabbitmq-queues quorum_status NAME` shows the queue's nodes",
        ),
        "RabbitMQUnread": Row(
            "no process reads the queue, and none says why",
            "nothing while restbroker is stopped; else look into its log",
        ),
        "RabbitMQMissing, RabbitMQDiffers": Row(
            "an exchange does not exist, and will or will not be created (`Create`); an exchange or the queue "
            "differs from the configuration ([rabbitmq.md](rabbitmq.md#exchanges))",
            "correct `Exchanges` or `Queue`, or let restbroker create it (`Create`); delete an exchange or "
            "queue of the wrong kind in RabbitMQ",
        ),
        "Streams": Row("users' streams are available ([openfire-events.md](servers/openfire-events.md))", "nothing"),
        "OpenfireAway": Row("Openfire does not answer", "start Openfire, or correct the `URL` of its target"),
        "OpenfireDenied": Row(
            "Openfire does not let a user in: their password is wrong or missing",
            "correct their line in `PasswordsFile`",
        ),
        "OpenfireJammed": Row(
            "a user has a session of the Chat API and no stream: Openfire gives no new ones ([openfire-events.md](servers/openfire-events.md#two-connections-of-one-name))",
            "restart Openfire",
        ),
        "NotInstalled": Row(
            "reading from RabbitMQ is an extra: `pip install --require-hashes -r requirements/amqp.lock`",
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
            "no connection, no HTTP, or no TLS",
            "start the server; correct the URL: host, port, `http` or `https`; for TLS its certificate, or `CAFile`",
        ),
        "Silent, Unfinished": Row(
            "it accepts the request and does not answer in time (`RequestTimeout`), so the check of this "
            "target stops; or its answers are so slow that the check stopped after 30 s",
            "check the server's load and log; raise `RequestTimeout` if such a long time is normal",
        ),
        "NotTheApi, Redirect": Row(
            "something else answers; restbroker does not follow redirects",
            "correct the URL: the next finding names one that works, or what to add to the server's configuration",
        ),
        "FoundElsewhere, FoundNowhere": Row(
            "follows one of these: the URL that would work, or the lines that enable the API",
            "use that URL, or add those lines to the server's configuration",
        ),
        "Unwell": Row(
            "it is starting or stopping, or a proxy answers for it",
            "wait until it has started; else check its log and the proxy's",
        ),
        "LoginRefused, BadLogin, Refused": Row(
            "the login; a secret that cannot be read; a proxy or firewall that refuses",
            "correct the login or the file with its password, and the account at the server",
        ),
        "LoginUnknown": Row(
            "kind `http` without `Probe`: the login cannot be tested ([http.md](http.md))",
            "set `Probe` to a path that requires the login",
        ),
        "Forbidden": Row(
            "the login may not even call `status` or `connected_users_number`: the target would be paused",
            "add the printed lines to the server's permissions",
        ),
        "SomeForbidden": Row(
            "some common commands are forbidden, perhaps on purpose",
            "nothing if this is intended; else add the printed lines to the server's permissions, and for an "
            "account of ejabberd 26.07 to its `access_rules`",
        ),
        "ModuleMissing": Row(
            "some common commands do not exist, and the module that provides them; kind `prosody-roster`: "
            "there is no roster module under the URL for this host",
            "load the module that it names",
        ),
        "OtherHost, OtherSchema": Row(
            "kind `mongooseim`: the listener answers to another `Host`, which it names; the URL leads to "
            "another endpoint than `Schema` says ([mongooseim.md](servers/mongooseim.md))",
            "take the `Host` or the URL that it names",
        ),
        "OtherPort, OtherPath": Row(
            "kind `openfire-rest`: the URL leads to the port of web clients, or not to where the plugin is; it "
            "names the right one ([openfire.md](servers/openfire.md))",
            "take the URL that it names",
        ),
        "NotAdministrator": Row(
            "kind `openfire-chat`: the target's login is not an administrator's, so it cannot log in users "
            "without passwords of their own ([openfire.md](servers/openfire.md)); or Openfire answers 500 when "
            "asked",
            "let the target log in as an administrator, by name without a domain, or give each user a line in "
            "`PasswordsFile`",
        ),
        "Redirected, PluginDisabled": Row(
            "kind `openfire-rest`: Openfire's console answers with its login page instead of the plugin; of "
            "`openfire-chat` too: the plugin is switched off",
            "install or switch on the plugin in Openfire's console",
        ),
        "DatabaseAway": Row(
            "kind `mongooseim`: it answers but cannot reach its database",
            "check MongooseIM's log and its database",
        ),
        "OpenAdmin": Row(
            "kind `mongooseim`: it is on another machine, and its listener requires no login",
            "set `username` and `password` of that listener, and `Auth` of the target",
        ),
        "OpenRefresh": Row(
            "kind `prosody-roster`: others can refresh users, since the module requires no login "
            "([roster-refresh.md](roster-refresh.md))",
            "give the module a login, or let only this machine reach it",
        ),
        "OtherVersion": Row(
            "`ServerVersion` is not the server's",
            "correct `ServerVersion`, or leave it out: restbroker asks the server",
        ),
        "NoApiVersions": Row(
            "`ApiVersion` is set, and the server is older than 24.02: it would refuse every job, so none is taken",
            "remove `ApiVersion`, or upgrade ejabberd to 24.02",
        ),
        "UnknownHost, NoDomain, HostsHidden": Row(
            "`JabberDomain` and the server's virtual hosts",
            "set `JabberDomain` to one of the server's hosts, which it names",
        ),
        "SlowLogin": Row(
            "each request spends more than 4 ms on the login: passwords are stored as SCRAM. Says whether the "
            "server can issue tokens instead, and what is missing",
            "use tokens (`RestAuth`), as it says, or store this account's password in plain",
        ),
        "NoToken, TokenForbidden": Row(
            "`RestAuth` asks for tokens, but ejabberd issues none, or they may do less than the login. A "
            "warning with `auto`, which continues with Basic",
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
