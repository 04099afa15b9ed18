# frozen_string_literal: true

# Sidekiq::Stats and Stats::History. Request: days. Answer: every figure.

require_relative "connect"

FIGURES = %i[processed failed enqueued retry_size dead_size scheduled_size processes_size workers_size queues
  default_queue_latency].freeze

answer do |request|
  stats = Sidekiq::Stats.new
  history = Sidekiq::Stats::History.new(request.fetch("days", 2))
  FIGURES.to_h { |figure| [figure, stats.public_send(figure)] }
    .merge(history: {processed: history.processed, failed: history.failed})
end
