# frozen_string_literal: true

# A worker for a real Sidekiq process: it fails whatever it is given, until the job that says that it was the last one.

require "sidekiq"

# Its poller looks once, in the first seconds, when nothing is due yet: each job fails once, however slow the machine is.
Sidekiq.options[:poll_interval_average] = 3600

class Add
  include Sidekiq::Worker

  def perform(command = nil, *)
    Sidekiq.redis { |redis| redis.set("finished", "yes") } if command == "the last one"
    raise "500"
  end
end
