# frozen_string_literal: true

# Pushes jobs as an application does. Request: `how` (push, push_bulk, perform_async, perform_in or set), `queue`, `args`
# (of one job, or for push_bulk of each), `in_s` for perform_in. Answer: the jids.

require_relative "connect"

# The plain Ruby class that an application has for what restbroker does: it is never run by Ruby.
class Add
  include Sidekiq::Worker
  sidekiq_options queue: "rest", retry: 3
end

answer do |request|
  args = request.fetch("args")
  case request.fetch("how")
  when "push" then [Sidekiq::Client.push("class" => "Add", "queue" => request.fetch("queue"), "args" => args)]
  when "push_bulk" then Sidekiq::Client.push_bulk("class" => Add, "args" => args)
  when "perform_async" then [Add.perform_async(*args)]
  when "perform_in" then [Add.perform_in(request.fetch("in_s"), *args)]
  when "set" then [Add.set(queue: request.fetch("queue")).perform_async(*args)]
  end
end
