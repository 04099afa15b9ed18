# frozen_string_literal: true

# What every script shares: Sidekiq's API on the Redis of REDIS_URL, with the keys' namespace if SIDEKIQ_NAMESPACE names
# one; a request in JSON on stdin, an answer in JSON on stdout. Nothing else goes to stdout.

require "json"
require "logger"
require "sidekiq/api"

Sidekiq.logger = Logger.new($stderr)

namespace = ENV.fetch("SIDEKIQ_NAMESPACE", "")
unless namespace.empty?
  require "redis-namespace"
  Sidekiq.configure_client { |config| config.redis = {url: ENV.fetch("REDIS_URL"), namespace: namespace} }
end

# Yields the request, a Hash, and prints what the block returns.
def answer
  $stdout.write(JSON.generate(yield(JSON.parse($stdin.read))))
end
