# Sidekiq: threads, one process. `ruby sidekiq_worker.rb COUNT` enqueues; `sidekiq -r ./sidekiq_worker.rb` works.
require "json"
require "net/http/persistent"
require "sidekiq"

TARGET = ENV.fetch("BENCH_TARGET")
redis = { url: ENV.fetch("BENCH_REDIS") }
Sidekiq.configure_server { |config| config.redis = redis }
Sidekiq.configure_client { |config| config.redis = redis }

class Call
  include Sidekiq::Worker

  HTTP = Net::HTTP::Persistent.new(name: "bench", pool_size: Integer(ENV.fetch("BENCH_CONCURRENCY")))

  def perform(command, arguments)
    uri = URI("#{TARGET}/#{command}")
    request = Net::HTTP::Post.new(uri, "Content-Type" => "application/json")
    request.basic_auth("admin@example.org", "bench")
    request.body = JSON.generate(arguments)
    HTTP.request(uri, request).value
  end
end

if $PROGRAM_NAME == __FILE__
  Integer(ARGV[0]).times.each_slice(1000) do |numbers|
    arguments = numbers.map do |number|
      ["set_presence", { "user" => "john", "host" => "example.org", "status" => "hello " * 20, "n" => number }]
    end
    Sidekiq::Client.push_bulk("class" => Call, "args" => arguments)
  end
end
