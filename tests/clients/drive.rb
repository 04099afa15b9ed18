# Takes the steps of a test to examples/clients/restbroker_client.rb, which is beside it. Steps and results are JSON.
require 'json'
require_relative 'restbroker_client'

broker, jids = RestbrokerClient.new, []
act = lambda do |verb, first, command = nil, arguments = {}, fields = {}|
  case verb
  when 'wait' then { done: broker.wait(jids.last, first) }
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
