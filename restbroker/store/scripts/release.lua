#!lua flags=allow-oom
-- Removes a text if it is still the expected one: an own lease, or a secret that turned out to be of no use.
--
-- KEYS: the text's
-- ARGV: the expected text
-- Returns: 1 removed | 0 another text, or none
-- Sent twice: changes nothing.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
