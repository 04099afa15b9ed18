# frozen_string_literal: true

# app/jobs/xmpp_command.rb: one class for all commands, which restbroker does and no Ruby worker.
#
#     XmppCommand.command("send_message", {from: "shop@example.org", to: "bob@example.org", …}).enqueue
#     XmppCommand.command("register", {…}, order_key: "bob", idempotency_key: "order-17").enqueue(wait: 5.minutes)
#     XmppCommand.call("check_account", {user: "bob"})  # {"outcome" => "delivered", "answer" => 0, …}, or Refused, Unknown
#
# Runs with Sidekiq 6.4 and newer and Active Job 6.1 and newer.

class XmppCommand < ActiveJob::Base
  include Sidekiq::Job::Options unless respond_to?(:sidekiq_options) # Rails has done so

  TOKEN = ENV.fetch("RESTBROKER_TOKEN") # of restbroker's configuration, not of the XMPP server

  queue_as :rest # RestQueue, or one of a target's Queues; config.active_job.queue_name_prefix would stand before it
  sidekiq_options retry: 25
  self.log_arguments = false # else Rails' log has the token and every password

  attr_accessor :members

  # Members stand beside the arguments: order_key, fair_key, idempotency_key, expiry, reply_to, ok_if_exists, …
  def self.command(endpoint, arguments = {}, reply_id: nil, **members)
    new(endpoint, arguments, TOKEN, *reply_id).tap { |job| job.members = members.transform_keys(&:to_s) }
  end

  # Pushes a command and waits for its answer, outside of any transaction, by examples/clients/restbroker_client.rb: raises
  # RestbrokerClient::Refused or Unknown. Unknown has the jid: `RestbrokerClient.new.wait(jid)` waits again.
  def self.call(endpoint, arguments = {}, timeout: 5, **members)
    fields = {**get_sidekiq_options.except("queue"), **members.transform_keys(&:to_s)}
    RestbrokerClient.new(queue: queue_name).call(endpoint, arguments, fields, timeout: timeout)
  end

  # Sidekiq's adapter passes nothing on but this, so the members travel here as far as the client middleware below.
  def serialize
    super.merge("members" => members || {})
  end

  def perform(*)
    raise "restbroker does this; no Ruby worker may serve its queue"
  end

  # Moves the members to where restbroker reads them.
  class Members
    def call(_class, job, _queue, _redis)
      wrapped = job["args"].first
      job.merge!(wrapped.delete("members")) if wrapped.is_a?(Hash) && wrapped.key?("members")
      yield
    end
  end
end

# Both, as jobs are pushed by web processes and by Ruby's own workers.
%i[configure_client configure_server].each do |configure|
  Sidekiq.public_send(configure) { |config| config.client_middleware { |chain| chain.add XmppCommand::Members } }
end
