-- Purpose: decides a batch of requests, each under all of its policies, by exact sliding windows on Redis TIME.
--
-- KEYS     one log for each charge: the charges of a request side by side, the requests in their order of arrival. A
--          request's first keys may be gates instead: the bans of its client and of its user (impose_ban.lua).
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
-- microseconds of TIME modulo 2^40 (12.7 days). A log that outgrew 4 kB is set aside, as `<key>:older`, when its first
-- stamp has left the window; the next, which goes on from it, begins with 9A 11. So nothing is ever read or written
-- that grows with the limit: of long logs a kilobyte for each step of a search, and what is admitted. Every number here
-- stays below 2^53, where Lua's doubles are exact.
--
-- Invariant: in every window (t-w, t] the admitted cost of a log is at most the limit, and a request that fits is
-- admitted. A request is evaluated whole before anything is charged; it is charged to every enforced policy or to
-- none, and to a dry run that has room; behind a closed, enforced gate to none at all. A gate is only read, unless
-- its clock stepped back. A stamp counts while its age is below the window. Each log is read once and written once, and what is written expires no
-- sooner than its newest stamp leaves the window.

local MAGIC, MAGIC_NUMBER = '\154\1', 0x9a01
local BAN = 0x9a03
local SPAN, HALF_SPAN = 2 ^ 40, 2 ^ 39
local NEVER = 2 ^ 40 - 1
local CHARGE = 14
local WHOLE = 4097 -- logs up to this size are read and written whole, longer ones by ranges
local SLACK_MS = 1000

-- What a call knows of a log: the bytes that it read last; the live part, `LIVE` stamps from index `FIRST` on, the oldest of
-- this `AGE`, in this window; how much the call adds; the key. By place, since a table with named fields costs more.
local BYTES, FIRST, LIVE, AGE, WINDOW, ADDED, KEY = 1, 2, 3, 4, 5, 6, 7

local call, try = redis.call, redis.pcall
local unpack_at, sub, rep = struct.unpack, string.sub, string.rep

local plan, charges = ARGV[1], #KEYS
if #ARGV ~= 1 or charges == 0 or charges > 1000 or #plan ~= charges * CHARGE then
  return redis.error_reply('ERR admit_request wants 1 to 1000 KEYS and one ARGV of 14 bytes for each')
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local now_stamp = now % SPAN
local stamp = struct.pack('>I5', now_stamp)

-- What few calls need: logs that are long, broken, or left in the future by a clock. Made when it is first needed, and of no
-- locals of the script, since each function that a script makes, and each local in it, costs every call.
local function rare_cases(call, try, is_refused, now, now_stamp, stamp)
  local MAGIC, MAGIC_NUMBER = '\154\1', 0x9a01
  local GOES_ON, GOES_ON_NUMBER = '\154\17', 0x9a11
  local SPAN, HALF_SPAN = 2 ^ 40, 2 ^ 39
  local WHOLE, SLACK_MS = 4097, 1000
  local AT_ONCE, FEW = 65536, 64 -- bytes and elements, as value.lua has them
  local BYTES, FIRST, LIVE, AGE, WINDOW, ADDED, KEY = 1, 2, 3, 4, 5, 6, 7
  local unpack_at, sub, rep = struct.unpack, string.sub, string.rep
  local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
  local mendable = 10000 -- stamps of long logs that a call may write anew
  local made = {}

  -- Removes what may be anything, as `drop` of value.lua does: the server frees a string before it goes on.
  local function remove(key)
    local kind = call('TYPE', key).ok
    if kind == 'string' and call('STRLEN', key) > AT_ONCE or kind == 'hash' and call('HLEN', key) <= FEW
      or kind == 'zset' and call('ZCARD', key) <= FEW then
      local other = key .. ':dropped:' .. string.format('%.0f', now)
      call('RENAME', key, other)
      call('PEXPIRE', other, SLACK_MS)
    else
      call('UNLINK', key)
    end
  end

  local function expire_at(window)
    return string.format('%.0f', ceil((now + window) / 1000) + SLACK_MS)
  end

  -- So many stamps of now; by blocks, since `rep` takes its time for each piece.
  local function stamps(count)
    made[count] = made[count] or rep(rep(stamp, 64), floor(count / 64)) .. rep(stamp, count % 64)
    return made[count]
  end

  -- How long ago a stamp was made, the oldest having index 0; below zero if the clock has stepped back since.
  local function age(log, index)
    local bytes, at, older = log[BYTES], 5 * index + 3, log.older
    if older then
      local key = log[KEY]
      if index < older then
        key = key .. ':older'
      else
        at = at - 5 * older
      end
      if key ~= log.read or at < log.start or at + 5 > log.start + #bytes then
        -- Centred, so that the last steps of a search fall into what was read.
        log.read, log.start = key, max(1, at - 510)
        bytes = call('GETRANGE', key, log.start - 1, log.start + 1022)
        log[BYTES] = bytes
      end
      at = at - log.start + 1
    end
    return (now_stamp - unpack_at('>I5', bytes, at) + HALF_SPAN) % SPAN - HALF_SPAN
  end

  -- The first index with an age below `bound`, which lies after `low` and not after `high`.
  local function first_below(bound, log, low, high)
    while high - low > 1 do
      local middle = floor((low + high) / 2)
      if age(log, middle) < bound then
        high = middle
      else
        low = middle
      end
    end
    return high
  end

  -- How many stamps a log has, once it is known where they are; nothing for what is no log of ours.
  local function open(log)
    local key, bytes = log[KEY], log[BYTES]
    local size, older = #bytes, 0
    -- An error, of another type, has no size either.
    local magic = size >= 7 and unpack_at('>I2', bytes)
    if magic == GOES_ON_NUMBER then
      older = try('STRLEN', key .. ':older')
      if is_refused(older) then
        older = call('STRLEN', key .. ':older')
      end
      older = type(older) == 'number' and older > 2 and older % 5 == 2 and (older - 2) / 5 or 0
    elseif magic ~= MAGIC_NUMBER then
      return
    end
    if size > WHOLE then
      size = call('STRLEN', key)
    elseif older == 0 then
      log[BYTES] = MAGIC .. sub(bytes, 3)
      return size % 5 == 2 and (size - 2) / 5 or nil
    end
    if size % 5 == 2 then
      log.older, log.read, log.start = older, key, 1
      return older + (size - 2) / 5
    end
  end

  -- Stamps in the future, left by a clock that stepped back, become `now`: they count for one window from here, so they
  -- block nobody for longer and let nothing extra pass. Of long logs, later calls write what this one may not.
  local function mend(log)
    local key, window, total, older = log[KEY], log[WINDOW], log.total, log.older
    local first = age(log, 0) < 0 and 0 or first_below(0, log, 0, total - 1)
    if not older then
      log[BYTES] = sub(log[BYTES], 1, 5 * first + 2) .. stamps(total - first)
      call('SET', key, log[BYTES], 'PXAT', expire_at(window))
      return
    end
    while first < total and mendable > 0 do
      local part, at, ends = key, first - older, total
      if first < older then
        part, at, ends = key .. ':older', first, older
      end
      local count = min(ends - first, mendable)
      call('SETRANGE', part, 5 * at + 2, stamps(count))
      call('PEXPIREAT', part, expire_at(window))
      first, mendable = first + count, mendable - count
    end
    log.read = nil
  end

  -- Finds the live part; false for what is no log of ours.
  local function locate(log)
    log.total = log.total or open(log)
    local total, window = log.total, log[WINDOW]
    if not total then
      return false
    end
    local oldest, newest = age(log, 0), age(log, total - 1)
    if oldest < newest then
      return false
    end
    if newest < 0 then
      mend(log)
      -- Of a long one, more than could be mended may be left.
      log.ahead = log.older
    end
    local first = 0
    if newest >= window then
      first = total
    elseif oldest >= window then
      first = first_below(window, log, 0, total - 1)
    end
    log[FIRST], log[LIVE] = first, total - first
    log[AGE] = first < total and max(age(log, first), 0) or 0
    return true
  end

  -- How long until the unit at this place of what counts leaves the window; nothing if its stamp is garbage.
  local function leaves(log, place)
    local window = log[WINDOW]
    if place >= log[LIVE] then
      return window
    end
    local its_age = age(log, log[FIRST] + place)
    if log.ahead then
      its_age = max(its_age, 0)
    end
    return its_age >= 0 and its_age < window and window - its_age or nil
  end

  -- Adds what was charged. A long log whose first stamp has left the window becomes the older one: of the one before it
  -- nothing counts by then.
  local function write(log)
    local key, first, older, expiry = log[KEY], log[FIRST], log.older, expire_at(log[WINDOW])
    local new = stamps(log[ADDED])
    if not older then
      new = MAGIC .. (log[LIVE] > 0 and sub(log[BYTES], 5 * first + 3) or '') .. new
    elseif first > older and (log.total - older) * 5 + 2 > WHOLE then
      remove(key .. ':older')
      call('RENAME', key, key .. ':older')
      new = GOES_ON .. new
    else
      call('APPEND', key, new)
      call('PEXPIREAT', key, expiry)
      return
    end
    call('SET', key, new, 'PXAT', expiry)
  end

  -- Removes what is no log of ours.
  local function drop(log)
    remove(log[KEY])
    log[BYTES], log[LIVE], log.older, log.total = '', 0, nil, nil
  end

  return { locate = locate, leaves = leaves, write = write, drop = drop }
end

local rare, dropped = nil, 0
local logs, of_charge, costs = {}, {}, {} -- every log by its key, and of each charge its log and cost
local changed = {}
local reply, filled = { 0 }, 1
local charge, flags, limit, window, cost = 1, unpack_at('>BI4I5I4', plan)

while charge <= charges do
  local opening, verdict, admitted = charge, filled + 1, 1
  filled = verdict

  repeat
    local key = KEYS[charge]
    local remaining, reset, retry = 0, 0, 0
    if flags >= 8 then
      -- How long a ban still lasts; 0 for none, and for what is no ban. One from the future begins anew, so that a clock that
      -- stepped back makes no ban last for longer than it was imposed for.
      -- A byte more than a ban has: `SET` frees what it replaces, so it must be no longer.
      local ban = try('GETRANGE', key, '0', '19')
      if is_refused(ban) then
        call('GETRANGE', key, '0', '19')
      elseif #ban >= 9 then
        local magic, ends = unpack_at('>I2I7', ban)
        local since = #ban == 19 and unpack_at('>I7', ban, 13) or 0
        if magic == BAN and since > now then
          ends = now + math.max(ends - since, 0)
          call('SET', key, struct.pack('>I2I7', BAN, ends) .. sub(ban, 10, 12) .. struct.pack('>I7', now), 'KEEPTTL')
        end
        if magic == BAN and ends > now then
          retry = ends - now < NEVER and ends - now or NEVER - 1
        end
      end
    else
      local log, is_broken = logs[key], false
      if log and log[WINDOW] ~= window and log[ADDED] > 0 then
        rare = rare or rare_cases(call, try, is_refused, now, now_stamp, stamp)
        rare.write(log)
        log, log[ADDED] = nil, 0
      end
      if not log then
        log = { try('GETRANGE', key, '0', '4097'), 0, 0, 0, 0, 0, key }
        logs[key] = log
      end
      if log[WINDOW] ~= window then
        log[WINDOW] = window
        local bytes, magic, oldest, newest = log[BYTES], nil, nil, nil
        local size = #bytes
        if size >= 7 and size <= WHOLE and size % 5 == 2 and not log.older then
          magic, oldest = unpack_at('>I2I5', bytes)
          oldest = (now_stamp - oldest + HALF_SPAN) % SPAN - HALF_SPAN
          newest = (now_stamp - unpack_at('>I5', bytes, size - 4) + HALF_SPAN) % SPAN - HALF_SPAN
        end
        if magic ~= MAGIC_NUMBER or oldest < newest or newest < 0 then
          if bytes ~= '' then
            if is_refused(bytes) then
              call('GETRANGE', key, '0', '4097')
            end
            rare = rare or rare_cases(call, try, is_refused, now, now_stamp, stamp)
            is_broken = not rare.locate(log)
          end
        elseif oldest < window then
          log[FIRST], log[LIVE], log[AGE] = 0, (size - 2) / 5, oldest
        elseif newest >= window then
          log[LIVE] = 0
        else
          -- `low` is an index that has left the window, `high` one that counts, of this `age`. The search gallops, for few
          -- stamps leave between two requests.
          local low, high, age, step = 0, (size - 2) / 5 - 1, newest, 1
          while low + 1 < high do
            local middle = low + step
            if middle >= high then
              step = (high - low - (high - low) % 2) / 2
              middle = low + step
            end
            local its_age = (now_stamp - unpack_at('>I5', bytes, 5 * middle + 3)) % SPAN
            if its_age < window then
              high, age = middle, its_age
            else
              low, step = middle, step * 2
            end
          end
          log[FIRST], log[LIVE], log[AGE] = high, (size - 2) / 5 - high, age
        end
      end

      repeat
        if is_broken then
          -- The charge begins afresh.
          rare.drop(log)
          dropped, is_broken = dropped + 1, false
        end
        local live = log[LIVE]
        local count = live + log[ADDED]
        remaining, reset, retry = limit - count, 0, 0
        if count > 0 then
          reset = live > 0 and window - log[AGE] or window
        end
        if cost > remaining then
          local place = count + cost - limit - 1
          if cost > limit then
            retry = NEVER
          elseif place == 0 then
            retry = reset
          else
            rare = rare or rare_cases(call, try, is_refused, now, now_stamp, stamp)
            retry = rare.leaves(log, place)
          end
          if remaining < 0 then
            rare = rare or rare_cases(call, try, is_refused, now, now_stamp, stamp)
            remaining, reset = 0, rare.leaves(log, -remaining)
          end
          -- Garbage between two stamps that are none the worse for it.
          is_broken = not (retry and reset)
        end
      until not is_broken
      of_charge[charge], costs[charge] = log, cost
    end
    if retry ~= 0 and flags % 4 >= 2 then
      admitted = 0
    end

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
      local log = of_charge[i]
      -- A gate costs nothing.
      if log and reply[slot + 3] == 0 then
        if log[ADDED] == 0 then
          changed[#changed + 1] = log
        end
        log[ADDED] = log[ADDED] + costs[i]
        reply[slot + 1] = reply[slot + 1] - costs[i]
        if reply[slot + 2] == 0 then
          -- Nothing is live: what was just admitted is the first to leave.
          reply[slot + 2] = log[WINDOW]
        end
      end
      slot = slot + 3
    end
  end
end

local expiry_window, expiry
for i = 1, #changed do
  local log = changed[i]
  local added, window = log[ADDED], log[WINDOW]
  if added >= 64 or log.older and added > 0 then
    rare = rare or rare_cases(call, try, is_refused, now, now_stamp, stamp)
    rare.write(log)
  elseif added > 0 then
    local new = added == 1 and stamp or rep(stamp, added)
    if log[LIVE] == 0 then
      new = MAGIC .. new
    elseif log[FIRST] == 0 then
      new = log[BYTES] .. new
    else
      new = MAGIC .. sub(log[BYTES], 5 * log[FIRST] + 3) .. new
    end
    if window ~= expiry_window then
      expiry_window, expiry = window, string.format('%.0f', math.ceil((now + window) / 1000) + SLACK_MS)
    end
    call('SET', log[KEY], new, 'PXAT', expiry)
  end
end

reply[1] = dropped
return struct.pack('>' .. rep('I5', filled), unpack(reply))
