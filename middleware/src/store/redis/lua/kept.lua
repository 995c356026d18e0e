-- Purpose: what the scripts share that keep one value of limited length for each key, and date it on Redis TIME; it stands
--          before each of them.
--
-- A stamp is five bytes, big-endian: microseconds of TIME modulo 2^40 (12.7 days). It ends an entry; the entries of a value
-- are of one size, the oldest first.

local SPAN, HALF_SPAN = 2 ^ 40, 2 ^ 39
local SLACK_MS = 1000
local EVIDENCE = 140

local pack, unpack_at, sub = struct.pack, struct.unpack, string.sub
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local now_stamp = now % SPAN
local stamp = pack('>I5', now_stamp)

-- How long ago the stamp at this place of the bytes was made; below zero if the clock has stepped back since.
local function age(bytes, at)
  return (now_stamp - unpack_at('>I5', bytes, at) + HALF_SPAN) % SPAN - HALF_SPAN
end

-- How many entries of this size come before the first with an age below `bound`.
local function before(bound, entries, size)
  local low, high = -1, #entries / size
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if age(entries, middle * size + size - 4) < bound then
      high = middle
    else
      low = middle
    end
  end
  return high
end

-- When a trail expires whose newest stamp was made then, milliseconds.
local function expiry_of(newest, window)
  return ceil((newest + window) / 1000) + SLACK_MS
end

-- What the ledger holds of a trail, with what counts towards a ban for the same failures.
local function trail_until(newest, window, key, size)
  return key_until(expiry_of(newest, window), window / 1000, #key + size + EVIDENCE)
end

