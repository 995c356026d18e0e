-- Purpose: decides a batch of requests, each under all of its policies, by exact sliding windows on Redis TIME.
--
-- KEYS     one log for each charge: the charges of a request side by side, the requests in their order of arrival. A
--          request's first key may be a gate instead: the ban of its client (impose_ban.lua).
-- ARGV[1]  the charges, 14 bytes each, big-endian, in the order of KEYS:
--            flags   1 byte: 1 opens a request, 2 is enforced (a dry run is not), 8 is a gate, with zeros for the rest
--            limit   4 bytes: how much cost fits in a window, at least 1
--            window  5 bytes, microseconds, 1 to 24 h
--            cost    4 bytes, at least 1
-- Reply    one string of numbers, five bytes each, big-endian, since an array of integers costs both sides more: how
--          many broken logs were dropped; then for each request 1 (admitted) or 0, followed for each of its charges by
--            remaining  cost that still fits
--            reset      microseconds until more than that fits, 0 for an empty log
--            retry      0 if the charge had room, microseconds until it can have, or 2^40 - 1 for never (cost > limit)
--          A gate counts as a charge that has room while there is no ban, with a retry when the ban ends (at most
--          2^40 - 2) and zeros before it.
--
-- A log is the two bytes 9A 01, then one stamp for each unit of admitted cost, oldest first: five bytes, big-endian,
-- microseconds of TIME modulo 2^40 (12.7 days). Every number here stays below 2^53, where Lua's doubles are exact.
--
-- Invariant: in every window (t-w, t] the admitted cost of a log is at most the limit, and a request that fits is
-- admitted. A request is evaluated whole before anything is charged; it is charged to every enforced policy or to
-- none, and to a dry run that has room; behind a closed, enforced gate to none at all. A gate is only read. A stamp counts while its age is below the window. Whatever is written
-- expires no sooner than its newest stamp leaves the window.

local MAGIC, MAGIC_NUMBER = '\154\1', 0x9a01
local BAN = 0x9a03
local SPAN, HALF_SPAN = 2 ^ 40, 2 ^ 39
local NEVER = 2 ^ 40 - 1
local CHARGE = 14
local FIRST = 3 -- where the oldest stamp stands; positions count from 1
local WHOLE = 4096 -- logs up to this size are read and written whole, longer ones by ranges
local SLACK_MS = 1000

local call, try = redis.call, redis.pcall
local unpack_at, sub, rep = struct.unpack, string.sub, string.rep
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

local plan, charges = ARGV[1], #KEYS
if #ARGV ~= 1 or charges == 0 or charges > 1000 or #plan ~= charges * CHARGE then
  return redis.error_reply('ERR admit_request wants 1 to 1000 KEYS and one ARGV of 14 bytes for each')
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local now_stamp = now % SPAN
local stamp = struct.pack('>I5', now_stamp)
local dropped = 0

local expiry_window, expiry
local function expire_at(window)
  if window ~= expiry_window then
    expiry_window, expiry = window, string.format('%.0f', ceil((now + window) / 1000) + SLACK_MS)
  end
  return expiry
end

-- Removes what is no log of ours; the next charge begins afresh.
local function drop(key)
  call('UNLINK', key)
  dropped = dropped + 1
  return false
end

-- How long a ban still lasts; 0 for none, and for what is no ban.
local function banned_for(value)
  if type(value) ~= 'string' or #value < 9 then
    return 0
  end
  local magic, ends = unpack_at('>I2I7', value)
  if magic ~= BAN then
    return 0
  end
  return min(max(ends - now, 0), NEVER - 1)
end

-- A log read whole is a string; one read by ranges is a table of its key, its size and the bytes read last. Either
-- has its reader: how long ago the stamp at a position was admitted, modulo SPAN.

local function age_in_whole(log, position)
  return (now_stamp - unpack_at('>I5', log, position)) % SPAN
end

local function age_in_ranged(log, position)
  if position < log.start or position + 4 >= log.start + #log.bytes then
    -- Centred, so that the last steps of a search fall into what was read.
    log.start = max(1, position - 510)
    log.bytes = call('GETRANGE', log.key, log.start - 1, log.start + 1022)
  end
  return (now_stamp - unpack_at('>I5', log.bytes, position - log.start + 1)) % SPAN
end

-- The first position with an age below `bound`, which lies after `low` and not after `high`. It gallops, for few
-- stamps leave between two requests.
local function first_below(bound, log, age, low, high)
  local step = 5
  while low + step < high do
    if age(log, low + step) < bound then
      high = low + step
      break
    end
    low = low + step
    step = step * 2
  end
  while high - low > 5 do
    local middle = low + floor((high - low) / 10) * 5
    if age(log, middle) < bound then
      high = middle
    else
      low = middle
    end
  end
  return high
end

-- Stamps in the future, left by a clock that stepped back, become `now`: they count for one window from here, so
-- they block nobody for longer and let nothing extra pass. Returns the log to go on with, false if it was broken.
local function mend(key, log, age, size, window)
  local function age_or_ahead(of, position)
    return (age(of, position) + HALF_SPAN) % SPAN
  end
  local oldest, newest = age_or_ahead(log, FIRST), age_or_ahead(log, size - 4)
  if oldest < newest then
    return drop(key)
  end
  local first = FIRST
  if oldest >= HALF_SPAN then
    first = first_below(HALF_SPAN, log, age_or_ahead, FIRST, size - 4)
  end
  local capped = rep(stamp, (size - first + 1) / 5)
  if age == age_in_whole then
    log = sub(log, 1, first - 1) .. capped
    call('SET', key, log, 'PXAT', expire_at(window))
  else
    call('SETRANGE', key, first - 1, capped)
    call('PEXPIREAT', key, expire_at(window))
    log.bytes = ''
  end
  return log
end

-- Checks what was read of a log, and finds where its live part begins: the log (false for none), that position (one
-- past the end if nothing is live) and the age there.
local function live_part(key, log, head, age, size, window)
  if size < 7 or size % 5 ~= 2 then
    return drop(key)
  end
  local magic, oldest = unpack_at('>I2I5', head)
  if magic ~= MAGIC_NUMBER then
    return drop(key)
  end
  oldest = (now_stamp - oldest) % SPAN
  local newest = age(log, size - 4)
  if newest > oldest or oldest >= HALF_SPAN then
    log = mend(key, log, age, size, window)
    if not log then
      return false
    end
    oldest, newest = age(log, FIRST), age(log, size - 4)
  end
  if oldest < window then
    return log, FIRST, oldest
  end
  if newest >= window then
    return log, size + 1, 0
  end
  local first = first_below(window, log, age, FIRST, size - 4)
  return log, first, age(log, first)
end

local function read_whole(key, log, window)
  return live_part(key, log, log, age_in_whole, #log, window)
end

-- For limits whose logs may be long. A log of the wrong type answers with an error.
local function read_by_size(key, window)
  local size = try('STRLEN', key)
  if type(size) == 'table' then
    return drop(key)
  end
  if size == 0 then
    return false
  end
  if size <= WHOLE then
    return read_whole(key, call('GET', key), window)
  end
  local log = { key = key, size = size, start = 1, bytes = call('GETRANGE', key, 0, 1022) }
  return live_part(key, log, log.bytes, age_in_ranged, size, window)
end

local function write_whole(key, log, window)
  call('SET', key, log, 'PXAT', expire_at(window))
  return log
end

-- A log that is more than half expired, or so old that its stamps would soon read as the
-- future, is written anew, which costs a constant per stamp in the long run; else the stamps are appended.
local function append(log, first, stamps, window)
  local key, expired = log.key, first - FIRST
  if expired * 2 > log.size or (expired > 0 and age_in_ranged(log, FIRST) > 3 * window) then
    local live = call('GETRANGE', key, first - 1, -1)
    call('SET', key, MAGIC .. live .. stamps, 'PXAT', expire_at(window))
  else
    call('APPEND', key, stamps)
    call('PEXPIREAT', key, expire_at(window))
  end
end

-- What is left of a limit before a charge, when more will be, and when the cost can fit: see the reply. Nothing for a
-- log whose stamps contradict each other.
local function measure(log, first, age, limit, window, cost)
  local count, age_of = 0, age_in_whole
  if type(log) == 'table' then
    count, age_of = (log.size - first + 1) / 5, age_in_ranged
  elseif log then
    count = (#log - first + 1) / 5
  end
  local remaining, reset, retry = limit - count, 0, 0
  if remaining < 0 then
    reset, remaining = window - age_of(log, first - remaining * 5), 0
  elseif count > 0 then
    reset = window - age
  end
  if cost > limit then
    retry = NEVER
  elseif cost > remaining then
    retry = window - age_of(log, first + (count + cost - limit - 1) * 5)
    if retry <= 0 or retry > window then
      return
    end
  end
  if reset < 0 or reset > window then
    return
  end
  return remaining, reset, retry
end

-- Whether every log can be read whole with one MGET: the sender puts flag 4 on the first charge if not.
local ranged = plan:byte(1) % 8 >= 4
local values = ranged and {} or call('MGET', unpack(KEYS))
-- MGET shows a key of the wrong type as missing; EXISTS tells.
if not ranged then
  local missing
  for i = 1, charges do
    if not values[i] and plan:byte((i - 1) * CHARGE + 1) < 8 then
      missing = missing or {}
      missing[#missing + 1] = KEYS[i]
    end
  end
  if missing and call('EXISTS', unpack(missing)) > 0 then
    for i = 1, #missing do
      if call('EXISTS', missing[i]) > 0 then
        drop(missing[i])
      end
    end
  end
end

local held = {} -- what this batch wrote, for its later requests on the same log
local logs, firsts, windows, costs = {}, {}, {}, {}
local reply, filled = { 0 }, 1
local charge, flags, limit, window, cost = 1, unpack_at('>BI4I5I4', plan)

while charge <= charges do
  local opening, verdict, admitted = charge, filled + 1, 1
  filled = verdict

  repeat
    local key = KEYS[charge]
    local log, first, age = held[key] or values[charge], nil, nil
    local remaining, reset, retry
    if flags >= 8 then
      remaining, reset, retry = 0, 0, banned_for(log or ranged and try('GET', key))
    else
      if log then
        log, first, age = read_whole(key, log, window)
      elseif ranged then
        log, first, age = read_by_size(key, window)
      end
      remaining, reset, retry = measure(log, first, age, limit, window, cost)
      if not remaining then
        -- Garbage between two stamps that are none the worse for it.
        log, held[key] = drop(key), nil
        remaining, reset, retry = measure(log, first, age, limit, window, cost)
      end
    end
    if retry ~= 0 and flags % 4 >= 2 then
      admitted = 0
    end

    logs[charge], firsts[charge], windows[charge], costs[charge] = log, first, window, cost
    reply[filled + 1], reply[filled + 2], reply[filled + 3] = remaining, reset, retry
    filled = filled + 3
    charge = charge + 1
    if charge > charges then
      break
    end
    flags, limit, window, cost = unpack_at('>BI4I5I4', plan, (charge - 1) * CHARGE + 1)
  until flags % 2 == 1

  reply[verdict] = admitted
  if admitted == 1 then
    local slot = verdict
    for i = opening, charge - 1 do
      -- A gate costs nothing.
      if reply[slot + 3] == 0 and costs[i] > 0 then
        local key, log, first, window = KEYS[i], logs[i], firsts[i], windows[i]
        local stamps = costs[i] == 1 and stamp or rep(stamp, costs[i])
        reply[slot + 1] = reply[slot + 1] - costs[i]
        if reply[slot + 2] == 0 then
          -- Nothing is live: what was just admitted is the first to leave.
          reply[slot + 2] = window
          held[key] = write_whole(key, MAGIC .. stamps, window)
        elseif ranged and type(log) == 'table' then
          append(log, first, stamps, window)
        elseif first == FIRST then
          held[key] = write_whole(key, log .. stamps, window)
        else
          held[key] = write_whole(key, MAGIC .. sub(log, first) .. stamps, window)
        end
      end
      slot = slot + 3
    end
  end
end

reply[1] = dropped
return struct.pack('>' .. rep('I5', filled), unpack(reply))
