"""What the codes of warnings in the log mean. docs/operations.md has this table.

Always holds: a row is the page's; its texts may have Markdown, with links as from `docs`.
"""

from typing import Final

from restbroker.console.codes.table import Row, Table

WARNINGS: Final = Table(
    "a warning in the log",
    "docs/operations.md",
    "## Warnings in the log",
    {
        "FetchRefused": Row(
            "Redis refuses to give jobs out: nothing is taken for that target, and `/readyz` answers 503",
            "`restbroker check` names a key of another type; or give the Redis user the rights that the message names. It goes on by itself",
        ),
        "BadQueue": Row(
            "one queue cannot be read as a list; the others are served",
            "look at the type of its key (`restbroker check` names it)",
        ),
        "StoreRefused": Row(
            "Redis refuses to settle a job: it stays in hand, and nothing more is taken",
            "look at `retry`, `schedule`, `dead`: each must be a sorted set that may be written. It is tried again every 5 s",
        ),
        "BeatRefused": Row(
            "Redis refuses this process' sign of life: soon it starts nothing more, and others take its jobs over",
            "give the Redis user the rights that the message names; it goes on by itself",
        ),
        "ChargeRefused": Row(
            "jobs in hand wait, since Redis refuses to count them against `RateLimit`",
            "look at `restbroker:rate:TARGET`: delete it if it is no text",
        ),
        "MarkRefused": Row(
            "jobs under `AtMostOnce` wait, since Redis refuses to note that they are about to be sent",
            "look at `restbroker:sent:…`: each must be a hash",
        ),
        "SetRefused": Row(
            "due jobs in `retry` or `schedule` cannot be moved to their queue",
            "look at the type of that set and of the queue",
        ),
        "QueueNotServed": Row(
            "due jobs that restbroker wrote stay in `retry` or `schedule`, since no target of this configuration serves their queue; each queue is named once, with its jobs, when they are due for a minute",
            "start the restbroker that serves it, or add the queue to a target; or look at them (`restbroker retries list --where 'queue = NAME'`), and move or delete them",
        ),
        "PausesRefused": Row(
            "the pauses of queues do not end when their time is over, since Redis refuses to look at them",
            "`restbroker check` names a key of another type; `restbroker queues resume NAME` ends one",
        ),
        "RewriteRefused": Row(
            "Redis does not write its append-only file again, once after its start: what a power loss cut off may cost a job at the start after ([guarantees.md](guarantees.md#a-power-loss-of-redis)). Said once for each start of Redis",
            "as the message says: give the Redis user `+bgrewriteaof`, or make room on the disk of Redis, which is asked again each minute; else run `redis-check-aof --fix` before each start of Redis after a crash of its machine",
        ),
        "RecoveryRefused": Row(
            "jobs of a dead process cannot be given back",
            "as the message says; the jobs of other processes are given back all the same",
        ),
        "AnswerRefused": Row(
            "jobs of a dead process were parked, as they had to be, but Redis refuses the answer to them: who waits gets none",
            "look at the types of the keys that answers go to: the response queue and `restbroker:reply:NAME` are lists, `queues` is a set",
        ),
        "RecordRefused": Row(
            "Sidekiq Web may not show this process; jobs are delivered all the same",
            "look at the type of `processes` (a set), or give the Redis user the rights that the message names ([sidekiq.md](sidekiq.md))",
        ),
        "MetricsRefused": Row(
            "the Metrics page of Sidekiq Web lacks what this process does",
            "look at the key that the message names, or at the rights: `bitfield`, and the keys `j|*`, `h|*`, `*-*-*:*` ([sidekiq.md](sidekiq.md))",
        ),
        "UnknownRequest": Row(
            "something other than quiet, stop or dump was left for this process under Sidekiq's name for such requests",
            "nothing; it was not done",
        ),
        "DeadSetFull": Row(
            "as many jobs are parked as `DeadLimit` says: none is taken",
            "look through them (`restbroker dead`), retry or delete them, or raise `DeadLimit`",
        ),
        "SecretFileUnusable": Row(
            "a token's or an event source's file is gone, unreadable or empty: the last secret that it held stays valid. Said once",
            "put the secret into it. To withdraw a secret, take its key out of the configuration and reload",
        ),
        "SuspectJob": Row(
            "a job was in hand when processes died, twice or more often; it runs alone",
            "nothing; if it is the cause, it is parked as `Poison`. Beside other targets of its process that are never without jobs it is not, since one of theirs may be the cause: it waits longer and longer instead, up to 5 min each time. If processes go on dying, pause the others for a while, so that it is found, or delete it",
        ),
        "RetryQueueIgnored": Row(
            "a job that failed names a `retry_queue` that its target does not serve: it is tried again from the queue that it was taken from",
            "if that queue is meant, let the same target serve it (`RestQueue`, or `Queues` of the target). If not, somebody may try to reach it through restbroker: look at who pushes to the queue that the message names",
        ),
        "JobReplayed": Row(
            "a signed job came again that was done before: it was not sent, and nobody was answered again ([tokens.md](tokens.md#signed-jobs))",
            "nothing, if a producer pushes again after a lost answer of Redis. If none does, somebody who can write to Redis pushes what he saw there",
        ),
        "ReplyWithoutQueue": Row(
            "a job wants an answer, and there is no `ResponseQueue`", "set it, or have producers leave the reply id out"
        ),
        "NoToken, TokenRefused, TokenForbidden": Row(
            "`RestAuth` is `auto`, and a target's commands go out with the password, which may cost ejabberd fifty times as much: it issues no token; it does not take the tokens that it issued; they may not call what their account may. Told again when the cause is another one, or comes back",
            "as the message says; `restbroker check` has the lines for `ejabberd.yml` ([ejabberd.md](servers/ejabberd.md#basic-address-or-bearer))",
        ),
        "NeedsRestart": Row("a reload changed keys that count after a restart only", "restart when it suits"),
        "StartRefused": Row(
            "a worker of `run --processes` that ended is not started again, since the configuration cannot be used now; told once for each reason",
            "mend the file, as the message says: it is looked at again every 1 to 30 s",
        ),
        "WorkerEnded": Row(
            "a worker of `run --processes` ended though the group goes on; told each time",
            "nothing if somebody stopped it; else the log's lines before it say why. Killed by `SIGKILL`: the kernel may have run out of memory (`dmesg` or `journalctl -k` names the process)",
        ),
        "WorkerHangs": Row(
            "a worker of `run --processes` lives and has not answered for ten seconds; others give its jobs back",
            "see what holds it up: `ps -o stat,wchan -p PID`; if it is suspended (`T`), `kill -CONT PID`. If it stays so, `kill -KILL PID`: another one is started",
        ),
        "WorkerAnswers": Row(
            "it answers again", "nothing; if it comes again, look what holds it up (processor time, memory, disk)"
        ),
        "LoginUnreadable": Row(
            "nobody can log in to the web pages, or get a roster, with a new password: the file of `StatsPassFile`, or of `Auth` of `Roster`, cannot be read, or is empty",
            "as the message says; who is logged in stays so, and the password that was read last counts for rosters",
        ),
        "LoginsThrottled": Row(
            "so many logins to the web pages, `/stats` or `/metrics` were wrong that an address, or everybody, is not heard for a while, not even with the right password (429 for programs). Told once a minute at most, with the address of the last try",
            "mend the login of what asks; if it is a stranger, let only those reach the port who need it. It passes by itself within a minute",
        ),
        "WebSocketRefused": Row(
            "a WebSocket was asked for on the port of the web pages or of `/healthz`, and refused (403). Told once a minute at most for each port",
            "nothing, if a proxy or a monitor tries it; else find out who asks: any web page in a browser that reaches the port can. Let only those reach it who need it",
        ),
        "RosterDenied": Row(
            "somebody asked the roster service without the right login, or under another path; if it was Prosody, its users cannot log in",
            "make `http_roster_url` fit what `Roster` says ([roster-service.md](roster-service.md))",
        ),
        "RostersUnread": Row(
            "the roster service answers 503, since Redis cannot be used, but to those whose roster it has a copy of; told once for each outage",
            "look at Redis; it goes on by itself",
        ),
        "OlderRosters": Row(
            "while Redis was away, so many users were given [copies](roster-service.md#while-redis-is-away) of their rosters. Jobs that refresh them are in the queue",
            "nothing",
        ),
        "RosterUnreadable": Row(
            "one user's roster, or an entry of it, is nothing that restbroker writes: he gets 503, or his roster without that contact",
            "find out who writes `restbroker:roster:of:USER`; set the roster anew",
        ),
        "EventNotTaken": Row(
            "a server told of something that did not become a job: Redis did not take it in time (two seconds, or the source's `Patience`), or too many came at once. The server was told (503), and with Prosody whoever sent it, too; MongooseIM's HTTP pusher does not listen, and what it told of is lost",
            "as the message says of Redis; `restbroker check` names a queue whose key is no list",
        ),
        "EventUnauthorized": Row(
            "something was posted to an event source without its secret: nothing was taken",
            "put the source's `Secret` into the server's configuration ([events.md](events.md#who-may-post)); without a secret, only what names this machine is taken. Of a source whose requests are signed the message says what is wrong: another key, a clock, a proxy ([mongooseim-sns.md](servers/mongooseim-sns.md#what-is-answered))",
        ),
        "EventMalformed": Row(
            "something was posted that is no event: nothing was taken",
            "look at what posts there, and whether the source has the right `Kind`; Prosody is told to send JSON (`rest_callback_content_type`, [events.md](events.md#prosody))",
        ),
        "OwnNotRemembered": Row(
            "a message was sent that comes back as an event, since Redis did not take note of it (`DropOwn`)",
            "as the message says of Redis; `Except` with the bot's address keeps its messages out without Redis",
        ),
        "EventParked": Row(
            "RabbitMQ delivered what is no event of MongooseIM's. It is in the dead set, as a job of the source's class with what came in `raw`, and acknowledged",
            "`restbroker dead list` and `dead show` show it; let nobody else publish to these exchanges ([rabbitmq.md](rabbitmq.md))",
        ),
        "EventsWait": Row(
            "Redis does not take events that were read from RabbitMQ: they stay there, and are taken when it does. Or those of Openfire's streams, which wait in memory (`Buffer`)",
            "as the message says of Redis",
        ),
        "EventsHeld": Row(
            "events of Openfire's streams fill the source's `Buffer`, since Redis does not take them; told once until all have been taken. No stream is read meanwhile: nothing is lost, but Openfire has those wait who send to these users",
            "have Redis work; or raise `Buffer`",
        ),
        "EventsLost": Row(
            "restbroker stopped while Redis was away, and events of Openfire's streams were lost that had been read",
            "have Redis work while restbroker stops: Openfire keeps no events ([openfire-events.md](servers/openfire-events.md#what-is-promised-and-what-is-not))",
        ),
        "OpenfireAway": Row(
            "a stream of a user cannot be opened, or he cannot be logged in; told once for all users until one is read again (`OpenfireBack`). Tried again, every 5 s at last",
            "look at Openfire; `restbroker check` tries the same",
        ),
        "OpenfireDenied": Row(
            "Openfire does not give a user his stream, or does not log him in; told once for each",
            "as the message says; `PasswordsFile` is read at each try",
        ),
        "OpenfireLarge": Row(
            "an event of a user had more than `LargestEvent` bytes: it is lost, and what came right behind it",
            "raise `LargestEvent`, or find out who sends such",
        ),
        "OpenfireGap": Row(
            "what Openfire told a user in the time that the message names may be missing: the stream ended, or the login under which it was open, after which the server sends nothing there, or another process had opened a stream, or the user was logged in before it was open. Counted in `restbroker_warnings_total`",
            "do not log off users whose events are read (`chat_logoff`, `kick_user_sessions`, or another program of yours); after a restart of Openfire nothing",
        ),
        "OpenfireJammed": Row(
            "a user is logged in and has no stream all the same (404), after one login afresh: two connections of one name keep Openfire from giving new streams to anyone; told once until one is read again (`OpenfireBack`)",
            "restart Openfire; find out what asks or uploads for names that are logged in ([openfire-events.md](servers/openfire-events.md#two-connections-of-one-name))",
        ),
        "OpenfireBack": Row("events are read again", "nothing: this ends what was told before"),
        "RabbitMQAway": Row(
            "RabbitMQ cannot be reached, or the connection ended; told once until it is read from again (`RabbitMQBack`). Tried again after half a second, then after longer and longer, every 5 s at last",
            "look at RabbitMQ; `restbroker check` tries the same",
        ),
        "RabbitMQDenied": Row(
            "RabbitMQ does not take the login, has no such virtual host for the user, or its user may not do something",
            "as the message says; a changed `URLFile` counts at the next try",
        ),
        "RabbitMQDiffers": Row(
            "an exchange or the queue in RabbitMQ is another one than is configured, or is missing: nothing is read",
            "as the message says ([rabbitmq.md](rabbitmq.md#exchanges))",
        ),
        "RabbitMQSilent": Row(
            "RabbitMQ answers, and its queue does not: a quorum queue that waits for most of its nodes, or one that RabbitMQ could not bring back after a crash. Nothing is read; told once until it is, and shown meanwhile on the [pages](web.md) and by `check`",
            "`rabbitmq-queues quorum_status NAME` shows its nodes; delete one that never comes back, with the events in it: it is made again",
        ),
        "RabbitMQBack": Row(
            "RabbitMQ is read from again: the queue has confirmed that it delivers",
            "nothing: this ends what was told before",
        ),
        "EventTooLarge": Row("an event of more than 1 MiB was refused", "as the message says"),
        "EventPathUnknown": Row(
            "something was posted to a path that no source of events has",
            "put one of the paths that the message names into the server's configuration",
        ),
        "PortTaken, CannotListen": Row(
            "`/stats`, `/healthz`, rosters or events cannot be served; nothing else waits for it",
            "end what uses the port, or change `StatsPort`, `StatsBind`, `HealthBind`, or `Listen` of `Roster` or `Events`; it is tried again every 5 s",
        ),
        "CertificateUnusable": Row(
            "the certificate of `Events` was renewed and cannot be used: the last one stays in use. Said once",
            "put certificate and key there that belong together, in PEM form, for restbroker to read; it is looked at again with new connections",
        ),
        "TLSFailed": Row(
            "a client of `Events` could not begin with TLS; told once for each reason",
            "as the message says: it does not trust the certificate's authority, or does not speak TLS",
        ),
        "TooManyConnections": Row(
            "somebody holds so many connections to `/stats`, `/healthz`, the roster service or events that the process has no file descriptors left; new connections to servers fail as well",
            "let only those reach the port who need it; raise `LimitNOFILE`",
        ),
        "ServerFault": Row(
            "a malformed request broke a connection to the pages or to another port, which was ended; the others go on. Where the message says that the server was restarted, all connections to it were cut off",
            "let only those reach the port who need it; report a restart",
        ),
        "RequestFailed": Row(
            "a request for a roster, an event, a request to a web page, `/stats`, `/metrics`, `/healthz` or `/readyz`, or a look at Redis for the pages, met an error in restbroker; jobs are not concerned",
            "report it",
        ),
    },
)
TABLES: Final = (WARNINGS,)
