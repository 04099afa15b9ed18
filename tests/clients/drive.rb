# Takes the steps of a test to examples/clients/restbroker_client.rb, which is beside it. Steps and results are JSON.
require 'json'
require_relative 'restbroker_client'

ENV['REDIS_URL'] = ENV['LATER'] # after the import
broker, jids = RestbrokerClient.new, []
odd = [
  *[0, -1, Float::NAN, Float::INFINITY, nil, 'soon', []].map { |timeout| -> { broker.call('c', {}, timeout: timeout) } },
  *[Float::NAN, [Float::INFINITY], "\xFF", "\xED\xA0\x80", "\xFF".b].map { |value| -> { broker.push('c', { 'v' => value }) } },
  *%w[at expiry].map { |name| -> { broker.push('c', {}, { name => Float::NAN }) } },
  -> { broker.push('c', {}, 'order_key' => "\xFF") },
  -> { broker.push('c', {}, 'at' => 'soon') },
  -> { broker.later(Float::INFINITY, 'c', {}) }
]
said = lambda do |what|
  { said: what.call }
rescue RestbrokerClient::NotDone
  {}
rescue StandardError => e
  { error: e.message.scrub }
end
act = lambda do |verb, first, command = nil, arguments = {}, fields = {}|
  case verb
  when 'wait' then { done: broker.wait(command || jids.last, first) }
  when 'token'
    ENV['RESTBROKER_TOKENFILE'] = first
    said.call(-> { RestbrokerClient.new.instance_variable_get(:@token) })
  when 'odd' then { taken: odd.each_index.reject { |number| said.call(odd[number]).key?(:error) } }
  when 'call' then { done: broker.call(command, arguments, fields, timeout: first) }
  when 'later' then { jid: broker.later(first, command, arguments, fields) }
  else { jid: broker.push(command, arguments, fields) }
  end
rescue RestbrokerClient::Refused => e
  { refused: e.message, code: e.answer['error']['code'] }
rescue RestbrokerClient::Unknown => e
  jids << e.jid
  { unknown: e.message, jid: e.jid }
end
puts JSON.generate(JSON.parse($stdin.read).map { |step| act.call(*step) })
