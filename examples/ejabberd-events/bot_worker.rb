# frozen_string_literal: true

# Answers what people write to bot@example.org: an event comes in, a job goes out. With Ruby 3 and Sidekiq 6.3 or newer:
#
#     REDIS_URL=redis://127.0.0.1:6379/0 sidekiq -r ./bot_worker.rb -q xmpp_bot
require "sidekiq"

class BotEvent
  include Sidekiq::Job

  BOT = "bot@example.org"
  TOKEN = File.read(ENV.fetch("TOKEN_FILE", "/etc/restbroker/token")).strip

  def perform(event)
    # What was kept for someone who was away comes again, delayed; a bot's own messages, too.
    return if event["body"].to_s.empty? || event["raw"]["delayed"]

    answer = { "type" => "chat", "from" => BOT, "to" => event["from"], "subject" => "",
               "body" => "You said: #{event['body']}" }
    Sidekiq::Client.push("class" => "Rest", "queue" => "rest", "args" => ["send_message", answer, TOKEN])
  end
end
