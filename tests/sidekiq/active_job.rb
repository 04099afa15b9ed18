# frozen_string_literal: true

# Pushes jobs as a Rails application does, by the class of examples/rails. Request: `token`; `jobs`, each with `how` (perform_later,
# command, call or set), `args` of the job, its `members`, `in_s` for later. Answer: for each its jid, or what `call` gave.

require_relative "connect"
require "active_job"

ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = Logger.new($stderr)

# What applications pass beside texts and numbers: text for `symbol`, `time` and `indifferent` becomes that.
def ruby(value)
  case value
  when Array then value.map { |one| ruby(one) }
  when Hash
    return value["symbol"].to_sym if value.key?("symbol")
    return Time.at(value["time"]).utc if value.key?("time")
    return ActiveSupport::HashWithIndifferentAccess.new(value["indifferent"]) if value.key?("indifferent")

    value.to_h { |name, one| [name.to_sym, ruby(one)] }
  else value
  end
end

answer do |request|
  ENV["RESTBROKER_TOKEN"] = request.fetch("token")
  require_relative "../../examples/rails/xmpp_command"
  require_relative "../../examples/clients/restbroker_client"
  request.fetch("jobs").map do |job|
    args = ruby(job.fetch("args"))
    members = (job["members"] || {}).transform_keys(&:to_sym)
    case job.fetch("how")
    when "perform_later" then XmppCommand.perform_later(*args, XmppCommand::TOKEN).provider_job_id
    when "set" then XmppCommand.set(wait: job.fetch("in_s")).perform_later(*args, XmppCommand::TOKEN).provider_job_id
    when "command"
      made = XmppCommand.command(*args, **members)
      made.enqueue(job.key?("in_s") ? {wait: job["in_s"]} : {})
      made.provider_job_id
    when "call"
      begin
        XmppCommand.call(*args, **members)
      rescue RestbrokerClient::NotDone => e
        {raised: e.class.name, jid: e.jid, code: e.answer&.dig("error", "code")}
      end
    end
  end
end
