# frozen_string_literal: true

# Commands that are pushed if, and only if, what they belong to is committed: docs/rails.md says why. Plain SQL on SQLite
# (Debian: ruby-sqlite3); with Active Record each statement is one call.
#
#     database.transaction do
#       database.execute("INSERT INTO orders …")
#       Outbox.add(database, "send_message", {from: "shop@example.org", to: "bob@example.org", …})
#     end
#     Outbox.push(database) # after the commit, and every few seconds in a process of its own
#
# A row may be pushed twice: of two relays at once, or one that died before it noted what it had pushed. Its id is the
# idempotency_key, so the command is done once, if the second push comes within IdempotencyFor (24 hours).

require "json"
require "sqlite3"

module Outbox
  # AUTOINCREMENT, since an id that came twice would be a command that is never done.
  TABLE = <<~SQL
    CREATE TABLE IF NOT EXISTS xmpp_outbox (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      endpoint TEXT NOT NULL,
      arguments TEXT NOT NULL,
      pushed INTEGER NOT NULL DEFAULT 0
    )
  SQL
  WAITING = "SELECT id, endpoint, arguments FROM xmpp_outbox WHERE pushed = 0 ORDER BY id LIMIT 1000"

  def self.add(database, endpoint, arguments)
    row = [endpoint, JSON.generate(arguments)]
    database.execute("INSERT INTO xmpp_outbox (endpoint, arguments) VALUES (?, ?)", row)
  end

  def self.push(database)
    database.execute(WAITING).each do |id, endpoint, arguments|
      # Rows of another database need another beginning.
      XmppCommand.command(endpoint, JSON.parse(arguments), idempotency_key: "outbox-#{id}").enqueue
      database.execute("UPDATE xmpp_outbox SET pushed = 1 WHERE id = ?", [id])
    end
  end
end
