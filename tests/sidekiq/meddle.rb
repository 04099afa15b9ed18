# frozen_string_literal: true

# What people do in Sidekiq Web while jobs run. Request: `queue`; `delete`, how many of its newest jobs; `retry`, ids of
# jobs in the dead set. The retry and schedule sets are cleared. Answer: the ids of those that were deleted and retried.

require_relative "connect"

answer do |request|
  newest = Sidekiq::Queue.new(request.fetch("queue")).first(request.fetch("delete"))
  deleted = newest.select(&:delete).map(&:jid)
  dead = Sidekiq::DeadSet.new
  retried = request.fetch("retry").select do |jid|
    job = dead.find_job(jid)
    job&.retry
    job
  end
  Sidekiq::RetrySet.new.clear
  Sidekiq::ScheduledSet.new.clear
  {deleted: deleted, retried: retried}
end
