# Sidekiq: threads, one process. `sidekiq -r ./sidekiq_worker.rb` works.
require "json"
require "net/http/persistent"
require "sidekiq"

TARGET = ENV.fetch("BENCH_TARGET")
redis = { url: ENV.fetch("BENCH_REDIS") }
Sidekiq.configure_server do |config|
  config.redis = redis
  # Due retries are looked for this often, in seconds; by default it would be every 15.
  config.average_scheduled_poll_interval = 1
end

class Call
  include Sidekiq::Worker
  # Matters only where the target fails.
  sidekiq_retry_in { 1 }

  HTTP = Net::HTTP::Persistent.new(name: "bench", pool_size: Integer(ENV.fetch("BENCH_CONCURRENCY")))

  def perform(command, arguments)
    uri = URI("#{TARGET}/#{command}")
    request = Net::HTTP::Post.new(uri, "Content-Type" => "application/json")
    request.basic_auth("admin@example.org", "bench")
    request.body = JSON.generate(arguments)
    HTTP.request(uri, request).value
  end
end
