#!lua flags=no-writes
-- Reads the jobs of a queue in their order, as far as the bytes allow.
--
-- KEYS: a list
-- ARGV: 'next' from its tail, which is taken from first | 'newest' from its head, how many to skip, how many at most,
--       how many bytes
-- Returns: the jobs. Fewer once they have the bytes together, and at least one unless the end is reached. In the place
--          of one that alone has more bytes stands what it is.
-- Sent twice: it only reads.

-- part: reading

local TOO_LARGE = '{"class":"Restbroker::Unreadable","args":[],"error_class":"PayloadTooLarge",'
  .. '"error_message":"This entry is not shown: it has %d bytes."}'
local order, skip, limit, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local page = {}

fill(page, limit, bytes, 1, function(taken, count)
  local from = skip + taken
  if order == 'next' then
    return turned(redis.call('LRANGE', KEYS[1], -from - count, -from - 1))
  end
  return redis.call('LRANGE', KEYS[1], from, from + count - 1)
end)
-- Only the first comes whatever its size.
if page[1] and #page[1] > bytes then
  page[1] = string.format(TOO_LARGE, #page[1])
end
return page
