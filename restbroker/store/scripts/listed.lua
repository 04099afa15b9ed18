#!lua flags=no-writes
-- Reads entries in their order, as far as the bytes allow.
--
-- KEYS: a list or a sorted set
-- ARGV: 'list' from its tail, which is taken from first | 'up' by rising scores | 'down' by falling ones, how many to
--       skip, how many entries at most, how many bytes
-- Returns: the entries; of a set each is followed by its score. Fewer once they have the bytes together, and at least
--          one unless the end is reached.
-- Sent twice: it only reads.

local CHUNK = 20
local kind, skip, limit, left_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local width = kind == 'list' and 1 or 2

local function part(from, count)
  if kind == 'list' then
    local found, turned = redis.call('LRANGE', KEYS[1], -from - count, -from - 1), {}
    for n = #found, 1, -1 do
      turned[#turned + 1] = found[n]
    end
    return turned
  elseif kind == 'up' then
    return redis.call('ZRANGE', KEYS[1], from, from + count - 1, 'WITHSCORES')
  end
  return redis.call('ZRANGE', KEYS[1], from, from + count - 1, 'REV', 'WITHSCORES')
end

local page, taken, largest = {}, 0, nil
while taken < limit do
  -- The first alone: nobody knows how large they are.
  local chunk = largest and math.max(1, math.min(CHUNK, limit - taken, math.floor(left_bytes / largest))) or 1
  local found = part(skip + taken, chunk)
  for n = 1, #found, width do
    if #found[n] > left_bytes and taken > 0 then
      return page
    end
    page[#page + 1], taken, left_bytes = found[n], taken + 1, left_bytes - #found[n]
    largest = math.max(largest or 1, #found[n])
    if width == 2 then
      page[#page + 1] = found[n + 1]
    end
  end
  if #found < chunk * width then
    break
  end
end
return page
