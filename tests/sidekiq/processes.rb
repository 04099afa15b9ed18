# frozen_string_literal: true

# Sidekiq::ProcessSet and Sidekiq::Workers. Request: `call` (quiet!, stop! or dump_threads) for the process `identity`,
# or for each; `cleanup` false to leave expired processes on the list. Answer: the processes and their jobs in hand.

require_relative "connect"

FIELDS = %w[hostname started_at pid tag concurrency queues labels identity version embedded busy beat quiet rss
  rtt_us].freeze

answer do |request|
  set = Sidekiq::ProcessSet.new(request.fetch("cleanup", true))
  wanted = set.select { |process| [nil, process.identity].include?(request["identity"]) }
  wanted.each { |process| process.public_send(request["call"]) } if request["call"]
  workers = Sidekiq::Workers.new
  {
    size: set.size,
    total_concurrency: set.total_concurrency,
    total_rss: set.total_rss,
    processes: set.map { |process| FIELDS.to_h { |name| [name, process[name]] }.merge(stopping: process.stopping?) },
    workers_size: workers.size,
    workers: workers.map do |identity, tid, work|
      job = Sidekiq::JobRecord.new(work["payload"])
      work.merge(identity: identity, tid: tid, display_class: job.display_class, display_args: job.display_args)
    end
  }
end
