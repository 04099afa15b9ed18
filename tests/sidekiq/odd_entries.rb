# frozen_string_literal: true

# Reads every entry of the three sets as Sidekiq Web does, writes it anew, and prepares it for a queue as the poller and
# the Retry button do, without moving it. Then, for the sets in the request's `retry`, retries all. Answer: per set a list
# of [the entry's text, what was wrong].

require_relative "connect"

SETS = {"retry" => Sidekiq::RetrySet, "schedule" => Sidekiq::ScheduledSet, "dead" => Sidekiq::DeadSet}.freeze
SHOWN = %i[
  jid klass queue at created_at enqueued_at tags error_backtrace display_class display_args latency args score
].freeze

def wrong(entry)
  SHOWN.each { |name| entry.public_send(name) }
  return "it has no jid" unless entry.jid.is_a?(String)
  return "it is written otherwise" unless JSON.generate(JSON.parse(entry.value)) == entry.value
  return "it cannot be retried" unless entry.parent.name == "schedule" || entry.error?
  Sidekiq::Client.new.send(:normalize_item, JSON.parse(entry.value))
  nil
rescue => error
  "#{error.class}: #{error.message}"
end

answer do |request|
  found = SETS.transform_values { |set| set.new.map { |entry| [entry.value, wrong(entry)] } }
  request.fetch("retry", []).each { |name| SETS.fetch(name).new.retry_all }
  found
end
