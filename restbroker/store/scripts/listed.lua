#!lua flags=no-writes
-- Reads entries in their order, as far as the bytes allow.
--
-- KEYS: a list or a sorted set
-- ARGV: 'list' from its tail, which is taken from first | 'newest' from its head | 'up' by rising scores | 'down' by
--       falling ones, how many to skip, how many entries at most, how many bytes
-- Returns: the entries; of a set each is followed by its score. Fewer once they have the bytes together, and at least
--          one unless the end is reached. In the place of a queue's job that alone has more bytes stands what it is.
-- Sent twice: it only reads.

-- part: reading

local TOO_LARGE = '{"class":"Restbroker::Unreadable","args":[],"error_class":"PayloadTooLarge",'
  .. '"error_message":"This entry is not shown: it has %d bytes."}'
local kind, skip, limit, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local is_list, page = kind == 'list' or kind == 'newest', {}

local function read(taken, count)
  local from = skip + taken
  if kind == 'list' then
    return turned(redis.call('LRANGE', KEYS[1], -from - count, -from - 1))
  elseif is_list then
    return redis.call('LRANGE', KEYS[1], from, from + count - 1)
  elseif kind == 'up' then
    return redis.call('ZRANGE', KEYS[1], from, from + count - 1, 'WITHSCORES')
  end
  return redis.call('ZRANGE', KEYS[1], from, from + count - 1, 'REV', 'WITHSCORES')
end

fill(page, limit, bytes, is_list and 1 or 2, read)
-- Only the first comes whatever its size.
if is_list and page[1] and #page[1] > bytes then
  page[1] = string.format(TOO_LARGE, #page[1])
end
return page
