# Sidekiq Web on a free loopback port, mounted as its README says; prints the port. Ends with SIGTERM.
# Started by tests/support/sidekiq_web.py.
require "rack"
require "rack/handler/webrick"
require "securerandom"
require "sidekiq/web"
require_relative "connect"

pages = Rack::Builder.new do
  use Rack::Session::Cookie, secret: SecureRandom.hex(32), same_site: true
  run Sidekiq::Web
end

# WEBrick sends head and body apart: with Nagle's algorithm each page would take 40 ms more.
at_once = ->(socket) { socket.setsockopt(:TCP, :NODELAY, true) }

Rack::Handler::WEBrick.run(pages, Host: "127.0.0.1", Port: 0, AccessLog: [], AcceptCallback: at_once) do |server|
  trap("TERM") { server.shutdown }
  $stdout.puts server.listeners.first.addr[1]
  $stdout.flush
end
