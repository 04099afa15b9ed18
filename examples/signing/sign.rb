require 'json'
require 'openssl'
require 'securerandom'

def sorted(value)
  case value
  when Hash then value.map { |key, item| [key.to_s, sorted(item)] }.sort_by(&:first).to_h
  when Array then value.map { |item| sorted(item) }
  else value
  end
end

def signed(secret, name, jid, endpoint, arguments, reply_id, queue)
  at = Time.now.to_i
  text = JSON.generate(sorted(['v1q', name, at, jid, endpoint, arguments, reply_id, queue]))
  "v1q:#{name}:#{at}:#{OpenSSL::HMAC.hexdigest('SHA256', secret, text)}"
end

secret = File.read('app_token').strip
jid = SecureRandom.hex(12)
arguments = { 'user' => 'bob', 'host' => 'example.org', 'nickname' => 'Bób/Robert' }
token = signed(secret, 'app', jid, 'set_nickname', arguments, 'order-7', 'rest')
args = ['set_nickname', arguments, token, 'order-7']
puts JSON.generate('class' => 'Restbroker', 'jid' => jid, 'queue' => 'rest', 'retry' => true, 'args' => args)
