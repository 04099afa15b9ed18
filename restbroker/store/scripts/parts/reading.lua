-- Reads entries, some at a time, as far as the bytes allow. How many at a time follows the largest until then; the first
-- comes alone, as no one knows how large they are.
local CHUNK = 50

local function next_count(largest, left_bytes, most)
  return largest and math.max(1, math.min(CHUNK, most, math.floor(left_bytes / largest))) or 1
end

-- Appends to a page up to so many entries, and one at least. read(skip, count) returns those from there on, each followed by
-- its score if width is 2; size_of(entry) the bytes of one that is no text. With a word it appends only those that have it.
-- Returns whether the end is reached, how many were read, and the last of them.
local function fill(page, limit, left_bytes, width, read, size_of, word)
  local taken, largest, last = 0, nil, nil
  while taken < limit and left_bytes > 0 do
    local count = next_count(largest, left_bytes, limit - taken)
    local found = read(taken, count)
    for n = 1, #found, width do
      local entry = found[n]
      local size = size_of and size_of(entry) or #entry
      if size > left_bytes and taken > 0 then
        return false, taken, last
      end
      if not word or string.find(entry, word, 1, true) then
        page[#page + 1] = entry
        if width == 2 then
          page[#page + 1] = found[n + 1]
        end
      end
      taken, left_bytes, largest, last = taken + 1, left_bytes - size, math.max(largest or 1, size), entry
    end
    if #found < count * width then
      return true, taken, last
    end
  end
  return false, taken, last
end

local function turned(found)
  local entries = {}
  for n = #found, 1, -1 do
    entries[#entries + 1] = found[n]
  end
  return entries
end
