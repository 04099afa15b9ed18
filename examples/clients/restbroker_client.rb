# Pushes jobs to restbroker and waits for answers (docs/producers.md), with Sidekiq's client. Copy it into your project.
require 'sidekiq'

class RestbrokerClient
  class NotDone < StandardError
    attr_reader :jid, :answer
    def initialize(text, jid, answer = nil)
      super(text)
      @jid, @answer = jid, answer
    end
  end
  # It was not done, and is not tried again: answer['error'] has 'code', 'message' and 'cure'.
  Refused = Class.new(NotDone)
  # It may be done, or may still run: `wait` again. Push it again only with the same 'idempotency_key'.
  Unknown = Class.new(NotDone)
  LOST = defined?(RedisClient) ? RedisClient::ConnectionError : Redis::BaseConnectionError # Sidekiq 7, or older

  def initialize(queue: 'rest')
    file = ENV['RESTBROKER_TOKENFILE']
    @token, @queue = file ? File.read(file).strip : ENV.fetch('RESTBROKER_TOKEN'), queue
  end

  # Queue a job, return its id. `fields`: 'order_key', 'idempotency_key', 'expiry', 'at' (epoch seconds), …
  def push(command, arguments, fields = {})
    job = { 'class' => 'Restbroker', 'queue' => @queue, 'retry' => true, 'jid' => SecureRandom.hex(12), **fields }
    job['args'] = JSON.parse(JSON.generate([command, arguments, @token])) # texts for symbols
    Sidekiq.redis(&:ping) # connects: if that fails, nothing was sent
    ask(job['jid'], LOST) { Sidekiq::Client.push(job) } || raise('A client middleware of Sidekiq stopped the job.')
  end

  def later(sec, command, arguments, fields = {}) = push(command, arguments, { **fields, 'at' => Time.now.to_f + sec })

  def call(command, arguments, fields = {}, timeout: 10)
    jid = SecureRandom.hex(12)
    wait(push(command, arguments, { **fields, 'jid' => jid, 'reply_to' => jid }), timeout)
  end

  def wait(jid, timeout = 10)
    key, found = "restbroker:reply:#{jid}", nil
    timeout.step(1, -5) { |left| found ||= ask(jid) { Sidekiq.redis { |conn| pop(conn, key, [left, 5].min) } } }
    raise Unknown.new("No answer to the job #{jid} within #{timeout} s. It may still run.", jid) unless found
    answer = JSON.parse(found.last)
    outcome, error = answer.values_at('outcome', 'error')
    return answer if %w[delivered negative].intersect?([outcome, answer.dig('first', 'outcome')])
    kind = %w[uncertain duplicate].include?(outcome) || answer['may_have_run'] ? Unknown : Refused
    raise kind.new("#{error['code']}: #{error['message']} #{error['cure']} (job #{jid})", jid, answer)
  end

  private

  def pop(conn, key, wait) # of Sidekiq 7 and later, or older
    conn.respond_to?(:blocking_call) ? conn.blocking_call(wait + 5, 'BLPOP', key, wait) : conn.blpop(key, timeout: wait)
  end

  def ask(jid, errors = StandardError)
    yield
  rescue errors => e
    raise Unknown.new("The job #{jid} may be queued or done, or not: #{e.message}", jid)
  end
end
