# frozen_string_literal: true

# Sidekiq::Queue. Request: `name`; `call` delete (with `jid`) or clear. Answer: the queue as it was before the call.

require_relative "connect"

answer do |request|
  queue = Sidekiq::Queue.new(request.fetch("name"))
  found = {
    size: queue.size,
    latency: queue.latency,
    jids: queue.map(&:jid),
    classes: queue.map(&:display_class),
    all: Sidekiq::Queue.all.map(&:name)
  }
  case request["call"]
  when "delete" then found[:called] = queue.find_job(request.fetch("jid")).delete
  when "clear" then queue.clear
  end
  found
end
