#!lua flags=no-writes
-- Reads entries in their order, as far as the bytes allow.
--
-- KEYS: a list or a sorted set
-- ARGV: 'list' from its tail, which is taken from first | 'newest' from its head | 'up' by rising scores | 'down' by
--       falling ones, how many to skip, how many entries at most, how many bytes
-- Returns: the entries; of a set each is followed by its score. Fewer once they have the bytes together, and at least
--          one unless the end is reached. In the place of a queue's job that alone has more bytes stands what it is.
-- Sent twice: it only reads.

local CHUNK = 20
local TOO_LARGE = '{"class":"Restbroker::Unreadable","args":[],"error_class":"PayloadTooLarge",'
  .. '"error_message":"This entry is not shown: it has %d bytes."}'
local kind, skip, limit, left_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local is_list = kind == 'list' or kind == 'newest'
local width, most_bytes = is_list and 1 or 2, left_bytes

local function part(from, count)
  if kind == 'list' then
    local found, turned = redis.call('LRANGE', KEYS[1], -from - count, -from - 1), {}
    for n = #found, 1, -1 do
      turned[#turned + 1] = found[n]
    end
    return turned
  elseif is_list then
    return redis.call('LRANGE', KEYS[1], from, from + count - 1)
  elseif kind == 'up' then
    return redis.call('ZRANGE', KEYS[1], from, from + count - 1, 'WITHSCORES')
  end
  return redis.call('ZRANGE', KEYS[1], from, from + count - 1, 'REV', 'WITHSCORES')
end

local page, taken, largest = {}, 0, nil
while taken < limit and left_bytes > 0 do
  -- The first alone: no one knows how large they are.
  local chunk = largest and math.max(1, math.min(CHUNK, limit - taken, math.floor(left_bytes / largest))) or 1
  local found = part(skip + taken, chunk)
  for n = 1, #found, width do
    local size = #found[n]
    if size > left_bytes and taken > 0 then
      return page
    end
    local is_told = is_list and size > most_bytes
    page[#page + 1] = is_told and string.format(TOO_LARGE, size) or found[n]
    taken, left_bytes, largest = taken + 1, left_bytes - size, math.max(largest or 1, size)
    if width == 2 then
      page[#page + 1] = found[n + 1]
    end
  end
  if #found < chunk * width then
    break
  end
end
return page
