"""What the codes of warnings in the log mean; docs/operations.md has this table.

Always holds: a row is that of the page; its texts may have Markdown, with links as from `docs`.
"""

from typing import Final

from restbroker.console.codes.table import Row, Table

WARNINGS: Final = Table(
    "a warning in the log",
    "docs/operations.md",
    "## Warnings in the log",
    {
        "Full, NearlyFull, DiskFailed, FewReplicas, Replica": Row(
            "Redis refuses writes, or may soon; every ten minutes",
            "[what `check` says of it](check.md#what-the-codes-mean)",
        ),
        "FetchRefused": Row(
            "Redis refuses to fetch jobs: that target gets none, and `/readyz` answers 503",
            "check the key that `restbroker check` names, or give the Redis user the rights in the message; "
            "it continues by itself",
        ),
        "BadQueue": Row(
            "one queue is not a list; the others are served",
            "check its key (`restbroker check` names it)",
        ),
        "StoreRefused": Row(
            "Redis refuses to settle a job: it stays in progress, and no more jobs are taken",
            "`retry`, `schedule` and `dead` must be writable sorted sets; tried again every 5 s",
        ),
        "BeatRefused": Row(
            "Redis refuses the heartbeat: the process soon stops sending, and others take over its jobs",
            "give the Redis user the rights in the message; it continues by itself",
        ),
        "ChargeRefused": Row(
            "jobs in progress wait: Redis refuses to count them against `RateLimit`",
            "delete `restbroker:rate:TARGET` if it is not a string",
        ),
        "ClaimRefused": Row(
            "jobs with an `idempotency_key` wait: Redis refuses to note it (those whose key has another type are sent)",
            "`restbroker:once:…` must be strings",
        ),
        "MarkRefused": Row(
            "jobs under `AtMostOnce` wait: Redis refuses to record that they are about to be sent",
            "`restbroker:sent:…` must be hashes",
        ),
        "SetRefused": Row(
            "due jobs in `retry` or `schedule` cannot be moved to their queue",
            "check the type of that set and of the queue",
        ),
        "QueueNotServed": Row(
            "due jobs of restbroker stay in `retry` or `schedule`, since no target here serves their queue; "
            "once for each queue, after a minute",
            "start the restbroker that serves it, add the queue to a target, or move or delete them "
            "(`restbroker retries list --where 'queue = NAME'`)",
        ),
        "OrderStopped": Row(
            "a job died, and those behind it with the same key wait (`OnDead` `stop`)",
            "`restbroker order list` shows such keys; `order resume` retries the dead job, `order skip` goes on without it",
        ),
        "OrderOnDeadIgnored": Row(
            "a job has `order_on_dead`, which has no effect: its target's `OnDead` says what a death does",
            "set `OnDead` in the target, and have producers leave the member out",
        ),
        "OrderChanged": Row(
            "`OrderBy` was changed or taken away while keys were held: until they are free, only their jobs are taken",
            "wait, `order skip` what stopped one, or `restbroker order drop --all`",
        ),
        "OrderMixed": Row(
            "another process serves a queue with another `OrderBy` or none: who has none waits, but older versions do not",
            "give all processes the same `OrderBy`, and update older ones",
        ),
        "OrderLeft": Row(
            "a target was renamed, or got a queue, while keys were held: what waits with them is sent, or stuck",
            "name it as before until `restbroker order list` is empty",
        ),
        "LinesRefused": Row(
            "lines of a queue with `FairBy` are not put right after someone deleted a part of them by hand: Redis refuses",
            "`restbroker check` names a key of the wrong type",
        ),
        "FairMixed": Row(
            "another process takes jobs of a queue with another `FairBy`, or as an older version: nothing is lost, but keys do "
            "not get their shares",
            "give all processes the same `FairBy` and `FairWeights`, and update older ones",
        ),
        "PausesRefused": Row(
            "pauses of queues do not end on time: Redis refuses to read them",
            "`restbroker check` names a key of the wrong type; `restbroker queues resume NAME` ends a pause",
        ),
        "PeriodicRefused": Row(
            "the job of a periodic command cannot be pushed; it is tried every five seconds and pushed if it is not too "
            "late then",
            "see the message; `restbroker check` names a key of the wrong type",
        ),
        "RewriteRefused": Row(
            "Redis does not rewrite its append-only file: if a power loss cut it, the next start may lose a "
            "job ([guarantees.md](guarantees.md#a-power-loss-of-redis))",
            "give the Redis user `+bgrewriteaof`, or free disk space (tried again each minute); else run "
            "`redis-check-aof --fix` before you start Redis after a crash of its machine",
        ),
        "RecoveryRefused": Row(
            "jobs of a dead process cannot be requeued; those of others are",
            "see the message",
        ),
        "AnswerRefused": Row(
            "Redis refuses the answers of a dead process's jobs that became dead: callers get none",
            "the response queue and `restbroker:reply:NAME` must be lists, `queues` a set",
        ),
        "RecordRefused": Row(
            "Sidekiq Web may not show this process; jobs are delivered",
            "`processes` must be a set; or give the Redis user the rights in the message ([sidekiq.md](sidekiq.md))",
        ),
        "MetricsRefused": Row(
            "Sidekiq Web's Metrics page lacks this process's numbers",
            "check the key in the message, or the rights: `bitfield`, and the keys `j|*`, `h|*`, `*-*-*:*` "
            "([sidekiq.md](sidekiq.md))",
        ),
        "UnknownRequest": Row(
            "an unknown request (not quiet, stop or dump) under Sidekiq's key for signals was ignored",
            "nothing",
        ),
        "TokensMixed": Row(
            "another process serves a queue with other tokens: other names, grants or secrets. Which of the two takes a job "
            "decides whether it is done or dies",
            "give all processes the same `Token`, `Tokens` and secret files; rotate with `PreviousSecret`",
        ),
        "QueueFlooded": Row(
            "10,000 dead jobs of a queue came without a right token (unreadable and oversized ones among them): restbroker "
            "pauses this queue, and no other",
            "find out who pushes to it; then delete or retry those jobs: the queue goes on within about ten seconds",
        ),
        "DeadSetFull": Row(
            "the dead set has reached `DeadLimit`: no job is taken",
            "retry or delete dead jobs (`restbroker dead`), or raise `DeadLimit`",
        ),
        "SecretFileUnusable": Row(
            "the file of a token or an event source is missing, unreadable or empty: its last secret stays valid",
            "put the secret into it. To withdraw one, remove its key from the configuration and reload",
        ),
        "SuspectJob": Row(
            "a job was in progress at least twice when processes died; it runs alone",
            "nothing: if the job is the cause, it becomes dead as `Poison`. While other targets of its process "
            "are busy, it waits, longer each time (up to 5 min). If processes keep dying, pause those targets, or delete "
            "the job",
        ),
        "RetryQueueIgnored": Row(
            "a failed job names a `retry_queue` that its target does not serve: it is retried from its own",
            "let the same target serve that queue, if intended; else find out who pushes to the queue in "
            "the message: they may try to reach it through restbroker",
        ),
        "ClocksDiffer": Row(
            "Redis' clock and this machine's differ by more than a minute: whether a signature is timely cannot be told, "
            "and signed jobs wait ([tokens.md](tokens.md#signed-jobs))",
            "synchronise both (NTP); a job that waited longer than its token's `Window` dies as `UntimelySignature`",
        ),
        "JobReplayed": Row(
            "a signed job came again after it was done; neither it nor an answer was sent again "
            "([tokens.md](tokens.md#signed-jobs))",
            "nothing if a producer repeated its push; else someone who can write to Redis replays jobs",
        ),
        "ExpiryWithoutTime": Row(
            "a job has `expires_in` and no `expiry`, so it never expires",
            "push `expiry`; Sidekiq Pro's client middleware makes it",
        ),
        "BadReplyTo": Row(
            "a job's `reply_to` names no key for an answer: it is done without one",
            "make producers write `restbroker:reply:NAME`, or NAME alone",
        ),
        "UnusedKey": Row(
            "a job has an `order_key` or `fair_key` that has no effect at its target",
            "set `OrderBy` or `FairBy`, or make producers omit it",
        ),
        "ReplyWithoutQueue": Row(
            "a job wants an answer, but there is no `ResponseQueue`", "set it, or make producers omit the reply id"
        ),
        "NoToken, TokenRefused, TokenForbidden": Row(
            "with `RestAuth` `auto`, commands use the password, which may cost ejabberd fifty times as "
            "much: it issues no token (`NoToken`), refuses its own (`TokenRefused`), or they lack the account's rights "
            "(`TokenForbidden`). Logged again when the cause changes or returns",
            "`restbroker check` has the lines for `ejabberd.yml` "
            "([ejabberd.md](servers/ejabberd.md#basic-address-or-bearer))",
        ),
        "NeedsRestart": Row("a reload changed keys that take effect only after a restart", "restart when convenient"),
        "StartRefused": Row(
            "a worker of `--processes` ended and cannot restart: the configuration is invalid now",
            "fix the file; it is checked again every 1 to 30 s",
        ),
        "WorkerEnded": Row(
            "a worker of `--processes` ended, the group continues; logged each time",
            "nothing if someone stopped it; else see the lines before. After `SIGKILL` perhaps memory ran "
            "out: `dmesg` or `journalctl -k` names the process",
        ),
        "WorkerHangs": Row(
            "a worker of `--processes` is alive but has not answered for ten seconds; others requeue its jobs",
            "see `ps -o stat,wchan -p PID`; if it is suspended (`T`), `kill -CONT PID`. If it does not "
            "recover, `kill -KILL PID`: another is started",
        ),
        "WorkerAnswers": Row(
            "it answers again", "nothing; if this repeats, find what blocks it (processor time, memory, disk)"
        ),
        "LoginUnreadable": Row(
            "a new password of the web pages or of rosters has no effect: `StatsPassFile`, `MetricsTokenFile`, or the "
            "file in `Auth` of `Roster`, is empty or unreadable",
            "see the message; existing logins stay valid, rosters use the last password read",
        ),
        "LoginsThrottled": Row(
            "too many wrong logins to the pages, `/stats` or `/metrics` from this address: for some seconds it is "
            "rejected even with the right password (programs: 429). At most once a minute, with the last address",
            "fix that client's login, or restrict access to the port",
        ),
        "WebSocketRefused": Row(
            "a client requested a WebSocket on the port of the pages or of `/healthz`, and got 403. At most "
            "once a minute for each port",
            "nothing for a proxy or a monitor; else find the client (any web page in a browser that reaches "
            "the port can do it), and restrict access",
        ),
        "RosterDenied": Row(
            "a client without the right login, or under another path, asked for a roster; if it was "
            "Prosody, its users cannot log in",
            "make `http_roster_url` fit `Roster` ([roster-service.md](roster-service.md))",
        ),
        "RostersUnread": Row(
            "Redis is away: users without a copy of their roster get 503",
            "check Redis; the service recovers by itself",
        ),
        "OlderRosters": Row(
            "while Redis was away, this many users got [copies](roster-service.md#while-redis-is-away) of "
            "rosters; refreshes are queued",
            "nothing",
        ),
        "RosterCopies": Row(
            "`CopiesFile` of `Roster` cannot be read or written; rosters are served without it",
            "check the folder, its rights and free space; a damaged file is written again",
        ),
        "RosterUnreadable": Row(
            "restbroker did not write this roster or entry: the user gets 503, or the roster without that contact",
            "find out who writes `restbroker:roster:of:USER`; set the roster again",
        ),
        "EventNotTaken": Row(
            "an event became no job: Redis did not accept it in time (two seconds, or `Patience`), or too "
            "many came at once. The server got 503, with Prosody the sender too; with MongooseIM's HTTP "
            "pusher the event is lost",
            "check Redis; `restbroker check` names a queue whose key is not a list",
        ),
        "EventUnauthorized": Row(
            "an event source rejected a request without its secret",
            "give the server the source's `Secret` ([events.md](events.md#who-may-post)); without one, only "
            "requests that name this machine are accepted. Of signed requests the message names the fault: "
            "key, clock, proxy ([mongooseim-sns.md](servers/mongooseim-sns.md#what-is-answered))",
        ),
        "EventMalformed": Row(
            "an event source rejected a request that is not an event",
            "check what posts there, and `Kind`; Prosody must send JSON (`rest_callback_content_type`, "
            "[events.md](events.md#prosody))",
        ),
        "OwnNotRemembered": Row(
            "a message of restbroker may come back as an event: Redis did not record it (`DropOwn`)",
            "check Redis; `Except` with the bot's address works without Redis",
        ),
        "EventParked": Row(
            "a message from RabbitMQ is not an event of MongooseIM: it was acknowledged, and is in the dead set "
            "as a job of the source's class with the content in `raw`",
            "see `restbroker dead list`, `dead show`; let only MongooseIM publish to these exchanges "
            "([rabbitmq.md](rabbitmq.md))",
        ),
        "EventsWait": Row(
            "Redis does not accept events: RabbitMQ keeps its own, those of Openfire's streams wait in "
            "memory (`Buffer`)",
            "check Redis",
        ),
        "EventsHeld": Row(
            "the `Buffer` of Openfire's streams is full, since Redis accepts no events. No stream is read: "
            "nothing is lost, but Openfire blocks senders to these users",
            "fix Redis, or raise `Buffer`",
        ),
        "EventsLost": Row(
            "restbroker stopped while Redis was away, and lost events read from Openfire's streams",
            "stop restbroker only while Redis works: Openfire keeps no events "
            "([openfire-events.md](servers/openfire-events.md#what-is-promised-and-what-is-not))",
        ),
        "OpenfireAway": Row(
            "a user's stream cannot be opened, or the user cannot log in; once for all users until "
            "`OpenfireBack`. restbroker tries again, at last every 5 s",
            "check Openfire; `restbroker check` tries the same",
        ),
        "OpenfireDenied": Row(
            "Openfire refuses a user's stream or login; once for each user",
            "see the message; `PasswordsFile` is read at each try",
        ),
        "OpenfireLarge": Row(
            "an event had more than `LargestEvent` bytes: it is lost, and perhaps the events right after it",
            "raise `LargestEvent`, or find out who sends such events",
        ),
        "OpenfireGap": Row(
            "a user's events in the time in the message may be missing: the stream or its login ended, "
            "another process opened one, or the user logged in before it was open. Counted in "
            "`restbroker_warnings_total`",
            "nothing after a restart of Openfire; else do not log off users whose events are read "
            "(`chat_logoff`, `kick_user_sessions`, other programs)",
        ),
        "OpenfireJammed": Row(
            "a logged-in user has no stream (404), even after a new login: two logins, logoffs, questions or uploads "
            "at one moment, or two connections of one name, keep Openfire from giving anyone new streams",
            "restart Openfire; find out which other program logs users in, asks or uploads "
            "([openfire-events.md](servers/openfire-events.md#one-login-after-the-other))",
        ),
        "OpenfireBack": Row("events are read again", "nothing: this ends an earlier warning"),
        "RabbitMQAway": Row(
            "RabbitMQ cannot be reached, or ended the connection; once until `RabbitMQBack`. restbroker "
            "tries again after half a second, then less often, at last every 5 s",
            "check RabbitMQ; `restbroker check` tries the same",
        ),
        "RabbitMQDenied": Row(
            "RabbitMQ refuses the login, the virtual host, or an action of this user",
            "see the message; a changed `URLFile` is used at the next try",
        ),
        "RabbitMQDiffers": Row(
            "an exchange or queue is missing in RabbitMQ or differs from the configuration: nothing is read",
            "as the message says ([rabbitmq.md](rabbitmq.md#exchanges))",
        ),
        "RabbitMQSilent": Row(
            "RabbitMQ answers but its queue does not: a quorum queue waits for a majority of its nodes, or "
            "was not restored after a crash. Nothing is read; the [pages](web.md) and `check` show it",
            "see `rabbitmq-queues quorum_status NAME`; delete a queue that never recovers, with its events: "
            "restbroker creates it again",
        ),
        "RabbitMQBack": Row(
            "the queue in RabbitMQ delivers again",
            "nothing: this ends an earlier warning",
        ),
        "EventTooLarge": Row("an event of more than 1 MiB was refused", "as the message says"),
        "EventPathUnknown": Row(
            "a request came to a path of no event source",
            "use a path that the message names in the server's configuration",
        ),
        "PortTaken, CannotListen": Row(
            "`/stats`, `/healthz`, rosters or events cannot be served; all else works",
            "stop the program on that port, or change `StatsPort`, `StatsBind`, `HealthBind`, or `Listen` "
            "of `Roster` or `Events`; tried again every 5 s",
        ),
        "CertificateUnusable": Row(
            "the renewed certificate of `Events` cannot be used: the previous one stays",
            "put a matching, readable certificate and key (PEM) there; new connections check them again",
        ),
        "TLSFailed": Row(
            "a TLS handshake with a client of `Events` failed; logged once for each reason",
            "the client does not trust the certificate's authority, or does not use TLS: see the message",
        ),
        "TooManyConnections": Row(
            "connections to `/stats`, `/healthz`, rosters or events leave no file descriptors; new "
            "connections to servers fail too",
            "restrict access to the port; raise `LimitNOFILE`",
        ),
        "ServerFault": Row(
            "a malformed request broke its connection; others continue. If the message says that the server "
            "was restarted, all were cut",
            "restrict access to the port; report a restart as a bug",
        ),
        "RequestFailed": Row(
            "a request to restbroker, or a read of Redis for the pages, met an error in restbroker; jobs are not "
            "affected",
            "report it",
        ),
    },
)
TABLES: Final = (WARNINGS,)
