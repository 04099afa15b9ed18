# frozen_string_literal: true

# The outbox of examples/rails. Request: `token`, `database` (a file), `orders` (each with `user` and whether it is `kept`:
# else its transaction is rolled back), `push`: "all", "dies" (killed after a push, before it is noted) or null. Answer: how many
# rows wait.

require_relative "connect"
require "active_job"

ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = Logger.new($stderr)

class Died < StandardError; end

answer do |request|
  ENV["RESTBROKER_TOKEN"] = request.fetch("token")
  require_relative "../../examples/rails/xmpp_command"
  require_relative "../../examples/rails/outbox"
  if request["push"] == "dies"
    relay = fork do
      database = SQLite3::Database.new(request.fetch("database"))
      database.define_singleton_method(:execute) do |sql, *rest|
        sql.start_with?("UPDATE") ? Process.kill(:KILL, Process.pid) : super(sql, *rest)
      end
      Outbox.push(database)
    end
    Process.wait(relay)
    raise "it was not killed" unless $?.termsig == Signal.list["KILL"]
  end
  database = SQLite3::Database.new(request.fetch("database"))
  database.execute(Outbox::TABLE)
  database.execute("CREATE TABLE IF NOT EXISTS orders (user TEXT)")
  request.fetch("orders", []).each do |order|
    database.transaction do
      database.execute("INSERT INTO orders VALUES (?)", [order["user"]])
      Outbox.add(database, "check_account", {user: order["user"], host: "example.org"})
      # What an application must not do: this runs even so.
      XmppCommand.command("check_account", {user: "#{order["user"]}-at-once", host: "example.org"}).enqueue
      raise Died unless order["kept"]
    end
  rescue Died
    nil
  end
  Outbox.push(database) if request["push"] == "all"
  database.get_first_value("SELECT COUNT(*) FROM xmpp_outbox WHERE pushed = 0")
end
