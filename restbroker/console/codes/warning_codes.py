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
        "FetchRefused": Row(
            "Redis refuses to fetch jobs: none is taken for that target, and `/readyz` answers 503",
            "`restbroker check` names a key of the wrong type; or give the Redis user the rights that the "
            "message names. restbroker continues by itself",
        ),
        "BadQueue": Row(
            "one queue is not a list; the others are served",
            "check the type of its key (`restbroker check` names it)",
        ),
        "StoreRefused": Row(
            "Redis refuses to settle a job: it stays in progress, and no more jobs are taken",
            "check `retry`, `schedule`, `dead`: each must be a writable sorted set. restbroker tries again every 5 s",
        ),
        "BeatRefused": Row(
            "Redis refuses this process's heartbeat: soon it sends nothing more, and others take over its jobs",
            "give the Redis user the rights that the message names; restbroker continues by itself",
        ),
        "ChargeRefused": Row(
            "jobs in progress wait, since Redis refuses to count them against `RateLimit`",
            "check `restbroker:rate:TARGET`: delete it if it is not a string",
        ),
        "MarkRefused": Row(
            "jobs under `AtMostOnce` wait, since Redis refuses to record that they are about to be sent",
            "check `restbroker:sent:…`: each must be a hash",
        ),
        "SetRefused": Row(
            "due jobs in `retry` or `schedule` cannot be moved to their queue",
            "check the type of that set and of the queue",
        ),
        "QueueNotServed": Row(
            "due jobs that restbroker wrote stay in `retry` or `schedule`, since no target of this "
            "configuration serves their queue; each queue is named once, with its jobs, a minute after they "
            "are due",
            "start the restbroker that serves it, or add the queue to a target; or list them (`restbroker "
            "retries list --where 'queue = NAME'`), and move or delete them",
        ),
        "PausesRefused": Row(
            "pauses of queues do not end on time, since Redis refuses to read them",
            "`restbroker check` names a key of the wrong type; `restbroker queues resume NAME` ends a pause",
        ),
        "RewriteRefused": Row(
            "Redis does not rewrite its append-only file after its start: if a power loss cut the file, the "
            "next start may lose a job ([guarantees.md](guarantees.md#a-power-loss-of-redis)). Logged once for "
            "each start of Redis",
            "see the message: give the Redis user `+bgrewriteaof`, or free space on Redis' disk (restbroker "
            "tries again each minute); else run `redis-check-aof --fix` before you start Redis after a crash "
            "of its machine",
        ),
        "RecoveryRefused": Row(
            "jobs of a dead process cannot be requeued",
            "see the message; the jobs of other processes are requeued",
        ),
        "AnswerRefused": Row(
            "jobs of a dead process became dead, as they had to, but Redis refuses their answers: callers that "
            "wait get none",
            "check the types of the keys for answers: the response queue and `restbroker:reply:NAME` are "
            "lists, `queues` is a set",
        ),
        "RecordRefused": Row(
            "Sidekiq Web may not show this process; jobs are delivered all the same",
            "check the type of `processes` (a set), or give the Redis user the rights that the message names "
            "([sidekiq.md](sidekiq.md))",
        ),
        "MetricsRefused": Row(
            "the Metrics page of Sidekiq Web lacks this process's numbers",
            "check the key that the message names, or the rights: `bitfield`, and the keys `j|*`, `h|*`, "
            "`*-*-*:*` ([sidekiq.md](sidekiq.md))",
        ),
        "UnknownRequest": Row(
            "an unknown request (not quiet, stop or dump) was left for this process under Sidekiq's key for signals",
            "nothing; it was ignored",
        ),
        "DeadSetFull": Row(
            "the dead set has reached `DeadLimit`: no job is taken",
            "retry or delete dead jobs (`restbroker dead`), or raise `DeadLimit`",
        ),
        "SecretFileUnusable": Row(
            "the file of a token or an event source is missing, unreadable or empty: its last secret stays "
            "valid. Logged once",
            "put the secret into it. To withdraw a secret, remove its key from the configuration and reload",
        ),
        "SuspectJob": Row(
            "a job was in progress when processes died, at least twice; it runs alone",
            "nothing; if it is the cause, it becomes dead as `Poison`. Beside other targets of its process "
            "that always have jobs it does not, since one of their jobs may be the cause: it waits longer each "
            "time, up to 5 min. If processes keep dying, pause the other targets for a while, or delete the job",
        ),
        "RetryQueueIgnored": Row(
            "a failed job names a `retry_queue` that its target does not serve: it is retried from its own queue",
            "if that queue is intended, let the same target serve it (`RestQueue`, or `Queues` of the target). "
            "If not, someone may be trying to reach it through restbroker: find out who pushes to the queue "
            "that the message names",
        ),
        "JobReplayed": Row(
            "a signed job came again after it was done: it was not sent, and no answer was sent again "
            "([tokens.md](tokens.md#signed-jobs))",
            "nothing, if a producer repeats a push whose answer was lost. If none does, someone who can write "
            "to Redis is replaying jobs",
        ),
        "ReplyWithoutQueue": Row(
            "a job wants an answer, and there is no `ResponseQueue`", "set it, or make producers omit the reply id"
        ),
        "NoToken, TokenRefused, TokenForbidden": Row(
            "`RestAuth` is `auto`, and a target's commands use the password, which may cost ejabberd fifty "
            "times as much: it issues no token, does not accept its own tokens, or they lack the rights of "
            "their account. Logged again when the cause changes or returns",
            "see the message; `restbroker check` has the lines for `ejabberd.yml` "
            "([ejabberd.md](servers/ejabberd.md#basic-address-or-bearer))",
        ),
        "NeedsRestart": Row("a reload changed keys that take effect only after a restart", "restart when convenient"),
        "StartRefused": Row(
            "a worker of `run --processes` ended and cannot be restarted, since the configuration is not valid "
            "now; logged once for each reason",
            "fix the file as the message says: restbroker checks it again every 1 to 30 s",
        ),
        "WorkerEnded": Row(
            "a worker of `run --processes` ended while the group continues; logged each time",
            "nothing if someone stopped it; else the log lines before it say why. Killed by `SIGKILL`: the "
            "kernel may have run out of memory (`dmesg` or `journalctl -k` names the process)",
        ),
        "WorkerHangs": Row(
            "a worker of `run --processes` is alive but has not answered for ten seconds; others requeue its jobs",
            "find the cause: `ps -o stat,wchan -p PID`; if it is suspended (`T`), `kill -CONT PID`. If it does "
            "not recover, `kill -KILL PID`: another worker is started",
        ),
        "WorkerAnswers": Row(
            "it answers again", "nothing; if it happens again, find what blocks it (processor time, memory, disk)"
        ),
        "LoginUnreadable": Row(
            "a new password does not work for the web pages or for rosters: the file of `StatsPassFile`, or of "
            "`Auth` of `Roster`, cannot be read or is empty",
            "see the message; logins that exist stay valid, and rosters use the last password read",
        ),
        "LoginsThrottled": Row(
            "too many wrong logins to the web pages, `/stats` or `/metrics`: for a while an address, or "
            "everyone, is rejected even with the right password (429 for programs). Logged at most once a "
            "minute, with the address of the last try",
            "fix the login of that client; if you do not know it, restrict access to the port. It ends by "
            "itself within a minute",
        ),
        "WebSocketRefused": Row(
            "a client requested a WebSocket on the port of the web pages or of `/healthz`, and got 403. Logged "
            "at most once a minute for each port",
            "nothing, if a proxy or a monitor tries it; else find the client: any web page in a browser that "
            "reaches the port can do this. Restrict access to the port",
        ),
        "RosterDenied": Row(
            "a client asked the roster service without the right login, or under another path; if it was "
            "Prosody, its users cannot log in",
            "make `http_roster_url` fit what `Roster` says ([roster-service.md](roster-service.md))",
        ),
        "RostersUnread": Row(
            "Redis is unavailable: the roster service answers 503 to users whose roster it has no copy of; "
            "logged once for each outage",
            "check Redis; the service recovers by itself",
        ),
        "OlderRosters": Row(
            "while Redis was away, this many users got [copies](roster-service.md#while-redis-is-away) of "
            "their rosters. Jobs that refresh them are in the queue",
            "nothing",
        ),
        "RosterCopies": Row(
            "`CopiesFile` of `Roster` cannot be read at the start, or cannot be written; rosters are served without it",
            "see the message: check the folder, its rights and its free space; a damaged file is written again",
        ),
        "RosterUnreadable": Row(
            "one user's roster, or an entry of it, was not written by restbroker: the user gets 503, or the "
            "roster without that contact",
            "find out who writes `restbroker:roster:of:USER`; set the roster again",
        ),
        "EventNotTaken": Row(
            "an event did not become a job: Redis did not accept it in time (two seconds, or the source's "
            "`Patience`), or too many came at once. The server got 503, with Prosody the sender too; "
            "MongooseIM's HTTP pusher ignores answers, so its event is lost",
            "see the message about Redis; `restbroker check` names a queue whose key is not a list",
        ),
        "EventUnauthorized": Row(
            "a request to an event source lacked its secret: it was rejected",
            "put the source's `Secret` into the server's configuration ([events.md](events.md#who-may-post)); "
            "without a secret, only requests that name this machine are accepted. For a source with signed "
            "requests, the message says what is wrong: another key, a clock, a proxy "
            "([mongooseim-sns.md](servers/mongooseim-sns.md#what-is-answered))",
        ),
        "EventMalformed": Row(
            "a request to an event source was not an event: it was rejected",
            "check what posts there, and the source's `Kind`; Prosody must send JSON "
            "(`rest_callback_content_type`, [events.md](events.md#prosody))",
        ),
        "OwnNotRemembered": Row(
            "a message that restbroker sent may come back as an event, since Redis did not record it (`DropOwn`)",
            "see the message about Redis; `Except` with the bot's address excludes its messages without Redis",
        ),
        "EventParked": Row(
            "RabbitMQ delivered a message that is not an event of MongooseIM. It was acknowledged and is in "
            "the dead set, as a job of the source's class with the content in `raw`",
            "`restbroker dead list` and `dead show` show it; let only MongooseIM publish to these exchanges "
            "([rabbitmq.md](rabbitmq.md))",
        ),
        "EventsWait": Row(
            "Redis does not accept events read from RabbitMQ (they stay there until it does) or from "
            "Openfire's streams (they wait in memory, `Buffer`)",
            "see the message about Redis",
        ),
        "EventsHeld": Row(
            "events of Openfire's streams fill the source's `Buffer`, since Redis does not accept them; logged "
            "once until the buffer is empty. Meanwhile no stream is read: nothing is lost, but Openfire blocks "
            "senders to these users",
            "fix Redis, or raise `Buffer`",
        ),
        "EventsLost": Row(
            "restbroker stopped while Redis was away, and lost events that it had read from Openfire's streams",
            "make sure that Redis works when restbroker stops: Openfire keeps no events "
            "([openfire-events.md](servers/openfire-events.md#what-is-promised-and-what-is-not))",
        ),
        "OpenfireAway": Row(
            "a user's stream cannot be opened, or the user cannot log in; logged once for all users until one "
            "stream is read again (`OpenfireBack`). restbroker tries again, finally every 5 s",
            "check Openfire; `restbroker check` tries the same",
        ),
        "OpenfireDenied": Row(
            "Openfire refuses a user's stream or login; logged once for each user",
            "see the message; `PasswordsFile` is read at each try",
        ),
        "OpenfireLarge": Row(
            "an event of a user had more than `LargestEvent` bytes: it is lost, and perhaps those right behind it",
            "raise `LargestEvent`, or find out who sends such events",
        ),
        "OpenfireGap": Row(
            "a user's events in the time that the message names may be missing: the stream or its login ended, "
            "another process opened a stream, or the user logged in before it was open. Counted in "
            "`restbroker_warnings_total`",
            "do not log off users whose events restbroker reads (`chat_logoff`, `kick_user_sessions`, or "
            "another program of yours); after a restart of Openfire nothing",
        ),
        "OpenfireJammed": Row(
            "a user is logged in but has no stream (404), even after a new login: two connections of one name "
            "keep Openfire from giving anyone new streams; logged once until one is read again (`OpenfireBack`)",
            "restart Openfire; find out who asks or uploads for names that are logged in "
            "([openfire-events.md](servers/openfire-events.md#two-connections-of-one-name))",
        ),
        "OpenfireBack": Row("events are read again", "nothing: this ends an earlier warning"),
        "RabbitMQAway": Row(
            "RabbitMQ cannot be reached, or the connection ended; logged once until restbroker reads again "
            "(`RabbitMQBack`). It tries again after half a second, then less often, finally every 5 s",
            "check RabbitMQ; `restbroker check` tries the same",
        ),
        "RabbitMQDenied": Row(
            "RabbitMQ refuses the login, the virtual host, or an action of this user",
            "see the message; a changed `URLFile` is used at the next try",
        ),
        "RabbitMQDiffers": Row(
            "an exchange or the queue in RabbitMQ is missing or differs from the configuration: nothing is read",
            "as the message says ([rabbitmq.md](rabbitmq.md#exchanges))",
        ),
        "RabbitMQSilent": Row(
            "RabbitMQ answers but its queue does not: a quorum queue that waits for a majority of its nodes, "
            "or one that RabbitMQ could not restore after a crash. Nothing is read; logged once until it is, "
            "and shown meanwhile on the [pages](web.md) and by `check`",
            "`rabbitmq-queues quorum_status NAME` shows its nodes; delete a queue that never recovers, with "
            "its events: restbroker creates it again",
        ),
        "RabbitMQBack": Row(
            "restbroker reads from RabbitMQ again: the queue has confirmed that it delivers",
            "nothing: this ends an earlier warning",
        ),
        "EventTooLarge": Row("an event of more than 1 MiB was refused", "as the message says"),
        "EventPathUnknown": Row(
            "a request came to a path that belongs to no event source",
            "use one of the paths that the message names in the server's configuration",
        ),
        "PortTaken, CannotListen": Row(
            "`/stats`, `/healthz`, rosters or events cannot be served; everything else works",
            "stop the program that uses the port, or change `StatsPort`, `StatsBind`, `HealthBind`, or "
            "`Listen` of `Roster` or `Events`; restbroker tries again every 5 s",
        ),
        "CertificateUnusable": Row(
            "the renewed certificate of `Events` cannot be used: the previous one stays in use. Logged once",
            "put a matching certificate and key there, in PEM form, readable by restbroker; it checks them "
            "again with new connections",
        ),
        "TLSFailed": Row(
            "a TLS handshake with a client of `Events` failed; logged once for each reason",
            "see the message: the client does not trust the certificate's authority, or does not use TLS",
        ),
        "TooManyConnections": Row(
            "a client holds so many connections to `/stats`, `/healthz`, the roster service or events that the "
            "process has no file descriptors left; new connections to servers fail too",
            "restrict access to the port; raise `LimitNOFILE`",
        ),
        "ServerFault": Row(
            "a malformed request broke one connection to the pages or another port; the others continue. If "
            "the message says that the server was restarted, all its connections were cut",
            "restrict access to the port; report a restart as a bug",
        ),
        "RequestFailed": Row(
            "a request for a roster, an event, a request to a web page, `/stats`, `/metrics`, `/healthz` or "
            "`/readyz`, or a read of Redis for the pages failed with an error in restbroker; jobs are not "
            "affected",
            "report it",
        ),
    },
)
TABLES: Final = (WARNINGS,)
