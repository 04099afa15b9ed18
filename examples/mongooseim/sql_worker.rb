# frozen_string_literal: true

# Writes the events of MongooseIM into a table of SQLite. In this folder, with Ruby 3, Sidekiq 6.3 or newer and the gem
# sqlite3 (Debian: ruby-sidekiq, ruby-sqlite3):
#
#     REDIS_URL=redis://127.0.0.1:6379/0 EVENTS_DB=events.sqlite3 sidekiq -r ./sql_worker.rb -q xmpp_events
#
# A job may run twice: Sidekiq repeats one that failed half-way. The job's id is the key, so that its row is there once.

require "connection_pool"
require "json"
require "sidekiq"
require "sqlite3"

module Events
  TABLE = <<~SQL
    CREATE TABLE IF NOT EXISTS events (
      jid TEXT PRIMARY KEY,
      received_at REAL NOT NULL,
      source TEXT NOT NULL,
      type TEXT NOT NULL,
      sender TEXT,
      receiver TEXT,
      room TEXT,
      presence TEXT,
      body TEXT,
      raw TEXT NOT NULL
    )
  SQL
  COLUMNS = %w[received_at source type from to room presence body].freeze

  def self.open
    SQLite3::Database.new(ENV.fetch("EVENTS_DB", "events.sqlite3")).tap do |database|
      database.busy_timeout(10_000)
      database.execute(TABLE)
    end
  end

  # One connection for each thread that Sidekiq runs jobs in, at most.
  POOL = ConnectionPool.new(size: 10) { open }
end

class XmppEvent
  include Sidekiq::Job

  def perform(event)
    row = [jid, *event.values_at(*Events::COLUMNS), JSON.generate(event["raw"])]
    Events::POOL.with { |database| database.execute("INSERT OR IGNORE INTO events VALUES (?,?,?,?,?,?,?,?,?,?)", row) }
  end
end
