# frozen_string_literal: true

# What people do in Sidekiq Web who want everything gone. Request: `queue`; `retry`, ids of dead jobs to retry first;
# `delete`, how many of the queue's newest jobs to delete one by one; `times`, how often the queue and the sets are
# cleared; `dead`, whether the dead set is cleared at the end. Answer: the ids of those that were retried and deleted, and
# how many there were in what was cleared.

require_relative "connect"

answer do |request|
  queue, dead = Sidekiq::Queue.new(request.fetch("queue")), Sidekiq::DeadSet.new
  wanted = request.fetch("retry").to_h { |jid| [jid, true] }
  retried = dead.to_a.select { |job| wanted[job.jid] && job.retry }.map(&:jid)
  deleted = queue.first(request.fetch("delete")).select(&:delete).map(&:jid)
  cleared = Hash.new(0)
  request.fetch("times").times do
    {"queue" => queue, "retry" => Sidekiq::RetrySet.new, "schedule" => Sidekiq::ScheduledSet.new}.each do |name, place|
      cleared[name] += place.size
      place.clear
    end
    sleep 0.01
  end
  if request.fetch("dead")
    cleared["dead"] = dead.size
    dead.clear
  end
  {retried: retried, deleted: deleted, cleared: cleared}
end
