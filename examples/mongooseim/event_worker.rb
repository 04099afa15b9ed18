# frozen_string_literal: true

# Takes the events of MongooseIM, and prints what it gets. In this folder, with Ruby 3 and Sidekiq 6.3 or newer:
#
#     REDIS_URL=redis://127.0.0.1:6379/0 sidekiq -r ./event_worker.rb -q xmpp_events
#
# An event is a Hash with the keys type, from, to, id, body, room, presence, server, source, received_at
# and raw.
require "sidekiq"
class XmppEvent
  include Sidekiq::Job
  def perform(event) = puts(event.values_at("type", "from", "to", "body").join(" | "))
end
