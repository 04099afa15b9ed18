#!lua flags=allow-oom
-- Keeps a secret for a while. A full Redis keeps it too: logins are few and short, and what drains Redis needs them.
--
-- KEYS: vault
-- ARGV: text, ttl (ms)
-- Returns: nothing
-- Sent twice: the ttl begins anew.

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
