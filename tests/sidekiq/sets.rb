# frozen_string_literal: true

# RetrySet, ScheduledSet and DeadSet. Request: `set`; `call` for the entry `jid` (retry, add_to_queue, delete, kill, or
# reschedule with `at`), or without a jid for the set (clear, or scan with `match`); `dead_max_jobs`.
# Answer: the entries as they were before the call, and what the call returned.

require_relative "connect"

SETS = {"retry" => Sidekiq::RetrySet, "schedule" => Sidekiq::ScheduledSet, "dead" => Sidekiq::DeadSet}.freeze

def shown(entry)
  {
    jid: entry.jid, score: entry.score, at: entry.at.to_f, queue: entry.queue, value: entry.value, item: entry.item,
    display_class: entry.display_class, display_args: entry.display_args, error: entry.error?,
    backtrace: entry.error_backtrace, tags: entry.tags, created_at: entry.created_at.to_f
  }
end

def call(set, request)
  arguments = request.key?("at") ? [request["at"]] : []
  case request["call"]
  when nil then nil
  when "scan" then set.scan(request.fetch("match")).map(&:jid)
  else
    target = request.key?("jid") ? set.find_job(request["jid"]) : set
    raise "no job #{request["jid"]} in #{set.name}" if target.nil?
    target.public_send(request["call"], *arguments)
  end
end

answer do |request|
  Sidekiq.options[:dead_max_jobs] = request["dead_max_jobs"] if request.key?("dead_max_jobs")
  set = SETS.fetch(request.fetch("set")).new
  found = {size: set.size, entries: set.map { |entry| shown(entry) }}
  result = call(set, request)
  found.merge(result: (result if request["call"] == "scan"))
end
