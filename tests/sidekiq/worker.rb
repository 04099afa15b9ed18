# frozen_string_literal: true

# The application that a real `sidekiq` process runs beside restbroker. From the environment: REDIS_URL,
# SIDEKIQ_NAMESPACE, POLL_S (seconds between two looks at the retry and schedule sets), and WITNESS, a file that gets
# the payload of each execution as a line of JSON.

require "json"
require "sidekiq"

# Sidekiq then prints each due job that it moves. Not by `-v`, whose lines on each job's start and end nobody reads.
Sidekiq.logger.level = Logger::DEBUG

# Notes each execution before it begins, as a whole line at once: it is there even if the process is killed in it.
class Witness
  def call(worker, job, _queue)
    File.write(ENV.fetch("WITNESS"), "#{JSON.generate(job)}\n", mode: "a")
    worker.failed_before = job.fetch("retry_count", -1) + 1
    yield
  end
end

# A job whose argument says how often it fails before it succeeds, and how long it takes.
class Errand
  include Sidekiq::Worker
  sidekiq_retry_in { 1 } # Sidekiq adds up to 9 s after the first failure, up to 18 s after the second

  attr_accessor :failed_before

  def perform(plan)
    sleep(plan.fetch("takes_s", 0))
    raise "not yet" if failed_before < plan.fetch("failures")
  end
end

# Takes a due job that asks for it out of its set and never gets to push it: what is open to Sidekiq's own poller for a
# moment lasts here until the process is killed.
class Dawdler
  def call(_worker, job, _queue, _pool)
    sleep if Sidekiq.server? && job["dawdle"]
    yield
  end
end

# Drops what its application does not want twice, as middleware for unique jobs does.
class Dropper
  def call(_worker, job, _queue, _pool)
    yield unless Sidekiq.server? && job["unwanted"]
  end
end

Sidekiq.configure_server do |config|
  redis = {url: ENV.fetch("REDIS_URL")}
  namespace = ENV.fetch("SIDEKIQ_NAMESPACE", "")
  redis[:namespace] = namespace unless namespace.empty?
  config.redis = redis
  Sidekiq.options[:poll_interval_average] = Float(ENV.fetch("POLL_S"))
  config.server_middleware { |chain| chain.add(Witness) }
  config.client_middleware { |chain| [Dawdler, Dropper].each { |middleware| chain.add(middleware) } }
end
