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
  LOST = defined?(RedisClient) ? [RedisClient::ConnectionError, RedisClient::ProtocolError] : # Sidekiq 7
    [Redis::BaseConnectionError, Redis::ProtocolError] # or older

  def initialize(queue: 'rest')
    @token, @queue = secret, queue
  end

  # Queue a job, return its id. `fields`: 'order_key', 'idempotency_key', 'expiry', 'at' (epoch seconds), …
  def push(command, arguments, fields = {})
    job = { 'class' => 'Restbroker', 'queue' => @queue, 'retry' => true, 'jid' => SecureRandom.hex(12), **fields }
    job['args'] = JSON.parse(JSON.generate([command, arguments, @token])) # texts for symbols
    raise ArgumentError, 'at: a number of epoch seconds' unless fields['at'].to_f.finite?
    Sidekiq.redis(&:ping) # connects: if that fails, nothing was sent
    ask(job['jid'], *LOST) { Sidekiq::Client.push(job) } || raise('A client middleware of Sidekiq stopped the job.')
  end

  def later(sec, command, arguments, fields = {}) = push(command, arguments, { **fields, 'at' => Time.now.to_f + sec })

  def call(command, arguments, fields = {}, timeout: 10)
    jid, timeout = SecureRandom.hex(12), seconds(timeout)
    wait(push(command, arguments, { **fields, 'jid' => jid, 'reply_to' => jid }), timeout)
  end

  def wait(jid, timeout = 10)
    key, finish, found = "restbroker:reply:#{jid}", now + seconds(timeout), nil
    while !found && (left = finish - now).positive? # at least 10 ms: to an older Redis, less is for ever
      found = ask(jid) { Sidekiq.redis { |conn| pop(conn, key, left.clamp(0.01, 5)) } }
    end
    raise Unknown.new("No answer to the job #{jid} within #{timeout} s. It may still run.", jid) unless found
    answer = ask(jid) { JSON.parse(found.last).to_h }
    outcome, error = answer['outcome'], answer['error'].to_h
    return answer if %w[delivered negative].intersect?([outcome, answer.dig('first', 'outcome')])
    kind = [nil, 'uncertain', 'duplicate'].include?(outcome) || answer['may_have_run'] ? Unknown : Refused
    raise kind.new("#{error['code']}: #{error['message']} #{error['cure']} (job #{jid})", jid, answer)
  end

  private

  # The token, read by restbroker's own rule: docs/tokens.md#how-a-secrets-file-is-read.
  def secret
    text, file = ENV['RESTBROKER_TOKEN'].to_s, ENV['RESTBROKER_TOKENFILE'].to_s
    unless file.empty?
      raw = File.binread(file)
      encoding = { /\A(\xFF\xFE|[^\0]\0)/n => 'UTF-16LE', /\A(\xFE\xFF|\0)/n => 'UTF-16BE' }.find { |first, _| raw =~ first }
      text = raw.force_encoding(encoding ? encoding.last : 'UTF-8').encode('UTF-8').delete_prefix("\uFEFF")
      text = text.gsub(/\r\n?/, "\n").sub(/[\n\u0085\u2028\u2029\u001A]+\z/, '')
    end
    return text unless text.strip.empty? || text.include?("\0")
    raise ArgumentError, 'No token: set RESTBROKER_TOKENFILE to a file that has it, or RESTBROKER_TOKEN.'
  end

  def seconds(timeout)
    Float(timeout).tap { |it| raise ArgumentError, 'timeout: seconds above 0' unless it.positive? && it.finite? }
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def pop(conn, key, wait) # of Sidekiq 7 and later, or older
    conn.respond_to?(:blocking_call) ? conn.blocking_call(wait + 5, 'BLPOP', key, wait) : conn.blpop(key, timeout: wait)
  end

  def ask(jid, *errors)
    yield
  rescue *(errors.empty? ? [StandardError] : errors) => e
    raise Unknown.new("The job #{jid} may be queued or done, or not: #{e.message}", jid)
  end
end
