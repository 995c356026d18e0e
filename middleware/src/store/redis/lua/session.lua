-- Purpose: what the scripts of the sessions have in common. Stands before each of them, after refused.lua.
--
-- KEYS[1]  the user's epoch.
-- KEYS[2]  the user's index.
-- KEYS[3]  the user's counts by hour.
-- ARGV[1]  what the names of the user's records begin with; the session's id in 32 hexadecimal digits follows.
-- ARGV[2]  what the names of the indices of all that live begin with; the last of these digits follows.
-- Reply    of every script: an array, first how many broken keys were dropped. A session in it is two elements: the digits of
--          its id, and its record.
--
-- A record is the two bytes 9A 07; the epoch (6 bytes); the hash of the secret (32); when it was created, when its user last
-- logged in within it, and its last activity (7 each, microseconds of TIME); how long it may be idle and how long it may last
-- (6 each, microseconds); the level of assurance (1); then details, which no script reads. Numbers are big-endian. It expires
-- at its end, rounded up to a millisecond.
-- An epoch is the two bytes 9A 08; the number at which it was born and its counter (6 bytes each); the time of the
-- latest `end_all` (7 bytes, microseconds of TIME, 0 for never; no step of the clock makes it earlier); until when it is kept (6 bytes, milliseconds). It is kept for a day
-- after a create or an `end_all`, and for as long as a session of the user may live.
-- The index is a sorted set of the ids' digits by the microsecond of creation. It is kept as long as the epoch.
-- The counts are a hash, for each hour of TIME a field `c<hour>` of the sessions that were created in it, and `t<hour>` of
-- those among them that were ended. A field counts for 30 days and goes when another hour begins.
-- An index of all that live is a sorted set of the last 14 digits of ids by the microsecond at which each session ends.
--
-- Invariant: a session lives while its record is there, has the epoch of its user, and its end is later than now. Whoever
-- meets one that does not removes its record, so that no clock brings it back; names without a record leave the indices, 200
-- in a call. No script makes a record but the one that
-- creates it, and none writes one that it has not just read. A moment from the future, left by a clock that stepped back,
-- becomes now when a script meets the session: so it lives for no longer than its lifetimes from then on, and counts by
-- that hour.

local SESSION, EPOCH = '\154\7', 0x9a08
local HEAD, TIMES, PLACES = 74, 41, '>I7I7I7I6I6'
local TAIL = 62 -- where the lifetimes begin
local MOST_RECORD = 1023 -- bytes
local MOST_DIGITS = 20 -- of a count
local MOST_KNOWN = 1024 -- sessions of a user
local MOST_UNLISTED = 200 -- names that a call removes from the indices
local MOST_FIELDS = 3000
local HOUR, HOURS = 3600000000, 720
local DAY_MS, MOST_MS, SLACK_MS = 86400000, 401 * 86400000, 1000

local pack, unpack_at, sub = struct.pack, struct.unpack, string.sub
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local broken = 0

-- Lua would write large numbers with an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

-- Removes a key that is none of ours.
local function discard(key)
  drop(key)
  broken = broken + 1
end

-- The string of a key, if it holds one that can be ours.
local function get(key)
  local value = read_value(key, MOST_RECORD)
  if value and (is_error(value) or #value > MOST_RECORD) then
    discard(key)
  elseif value then
    return value
  end
end

-- The user's epoch, if there is one: its number at birth, its counter, the last `end_all`, until when it is kept.
local epoch
-- What the record of a session that lives begins with.
local current
do
  local value = get(KEYS[1])
  if value and #value == 27 and unpack_at('>I2', value) == EPOCH then
    local birth, counter, ended, kept = unpack_at('>I6I6I7I6', value, 3)
    epoch = { birth = birth, counter = counter, ended = ended, kept = kept }
    current = SESSION .. sub(value, 9, 14)
  elseif value then
    discard(KEYS[1])
  end
end

-- Writes the epoch; it is kept at least until then, and for a day.
local function write_epoch(ends)
  local now_ms = ceil(now / 1000)
  local kept = max(epoch.kept, ceil(ends / 1000), now_ms + DAY_MS)
  epoch.kept = min(kept, now_ms + MOST_MS)
  local value = pack('>I2I6I6I7I6', EPOCH, epoch.birth, epoch.counter, epoch.ended, epoch.kept)
  call('SET', KEYS[1], value, 'PXAT', whole(epoch.kept + SLACK_MS))
end

-- How many members a sorted set has; what is none goes.
local function size_of(set)
  local size = try('ZCARD', set)
  if is_refused(size) then
    call('ZCARD', set)
  end
  if is_error(size) then
    discard(set)
    return 0
  end
  return size
end

-- Drops the fields that count no more, and keeps the rest for as long as the newest counts; false if one is none of ours.
local function tidy_counts()
  local fields, hour = call('HKEYS', KEYS[3]), floor(now / HOUR)
  local old, newest = {}, hour
  for i = 1, #fields do
    local at = tonumber(sub(fields[i], 2))
    if at and at >= hour - HOURS and at <= hour + HOURS then
      newest = max(newest, at)
    elseif call('HSTRLEN', KEYS[3], fields[i]) > MOST_DIGITS then
      return false
    else
      old[#old + 1] = fields[i]
    end
  end
  if #old > 0 then
    call('HDEL', KEYS[3], unpack(old))
  end
  call('PEXPIREAT', KEYS[3], whole((newest + HOURS + 1) * (HOUR / 1000) + SLACK_MS))
  return true
end

-- Counts so many sessions of the hour of this moment.
local function count(letter, created, many)
  local field = letter .. whole(floor(created / HOUR))
  local counted = try('HINCRBY', KEYS[3], field, many)
  if is_error(counted) then
    if is_refused(counted) and sub(counted.err, 1, 14) ~= 'ERR hash value' and not counted.err:find('overflow') then
      call('HINCRBY', KEYS[3], field, many)
    end
    discard(KEYS[3])
    counted = call('HINCRBY', KEYS[3], field, many)
  end
  if counted == many then
    if call('HLEN', KEYS[3]) > MOST_FIELDS or not tidy_counts() then
      discard(KEYS[3])
      call('HINCRBY', KEYS[3], field, many)
      tidy_counts()
    end
  end
end

-- Notes in the index of all that live when a session ends, and lets go of some that have ended.
local function note_end(name, ends)
  local set = ARGV[2] .. sub(name, -1)
  size_of(set)
  call('ZADD', set, whole(ends), sub(name, 19))
  local over = call('ZRANGE', set, '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, 8)
  if #over > 0 then
    call('ZREM', set, unpack(over))
  end
  local last = call('ZRANGE', set, -1, -1, 'WITHSCORES')[2]
  if last then
    -- What somebody else wrote may have any score.
    call('PEXPIREAT', set, whole(ceil(min(tonumber(last) / 1000, now / 1000 + MOST_MS)) + SLACK_MS))
  end
end

-- Writes a record that was just read or is new, wherever it is listed. The epoch is there.
local function write(name, record)
  local created, _, active, idle, absolute = unpack_at(PLACES, record, TIMES)
  local ends = min(active + idle, created + absolute)
  call('SET', ARGV[1] .. name, record, 'PXAT', whole(ceil(ends / 1000)))
  size_of(KEYS[2])
  call('ZADD', KEYS[2], whole(created), name)
  call('PEXPIREAT', KEYS[2], whole(epoch.kept + SLACK_MS))
  note_end(name, ends)
end

-- Whether the server has memory to write a session that it has just read; any other refusal is the script's.
local function has_room(name, record)
  local answer = try('SET', ARGV[1] .. name, record, 'KEEPTTL')
  if not is_error(answer) then
    return true
  end
  if sub(answer.err, 1, 3) ~= 'OOM' then
    call('SET', ARGV[1] .. name, record, 'KEEPTTL')
  end
  return false
end

-- The record of a session that lives, as it is from now on, and when it was created; nothing for any other record.
local function look(name, record)
  if #record < HEAD or sub(record, 1, 8) ~= current then
    if #record < HEAD or sub(record, 1, 2) ~= SESSION then
      broken = broken + 1
    end
    return
  end
  local created, authenticated, active, idle, absolute = unpack_at(PLACES, record, TIMES)
  if created > now or authenticated > now or active > now then
    if created > now then
      count('c', created, -1)
      count('c', now, 1)
    end
    created, authenticated, active = min(created, now), min(authenticated, now), min(active, now)
    record = sub(record, 1, 40) .. pack('>I7I7I7', created, authenticated, active) .. sub(record, TAIL)
    if min(active + idle, created + absolute) > now then
      write(name, record)
    end
  end
  if min(active + idle, created + absolute) > now then
    return record, created
  end
end

-- Removes the records of these sessions, and their names from the indices, which takes longer: so many of them in a call.
local function remove(names)
  if #names == 0 then
    return
  end
  local keys, sets, listed = {}, {}, {}
  for i, name in ipairs(names) do
    keys[i] = ARGV[1] .. name
    if i <= MOST_UNLISTED then
      local last = sub(name, -1)
      local set = sets[last] or {}
      sets[last] = set
      set[#set + 1] = sub(name, 19)
      listed[i] = name
    end
  end
  call('UNLINK', unpack(keys))
  if size_of(KEYS[2]) > 0 then
    call('ZREM', KEYS[2], unpack(listed))
  end
  for last, members in pairs(sets) do
    local set = ARGV[2] .. last
    if size_of(set) > 0 then
      call('ZREM', set, unpack(members))
    end
  end
end

-- Ends sessions that live: their names, and when each was created.
local function finish(names, created)
  -- First: a server out of memory refuses no removal, and then nothing more of the script.
  remove(names)
  local hours = {}
  for i in ipairs(names) do
    local hour = floor(created[i] / HOUR) * HOUR
    hours[hour] = (hours[hour] or 0) + 1
  end
  for hour, many in pairs(hours) do
    count('t', hour, many)
  end
end

-- The record of one session that lives, and when it was created.
local function find(name)
  local record = get(ARGV[1] .. name)
  if record then
    local lives, created = look(name, record)
    if lives then
      return lives, created
    end
    remove({ name })
  end
end

-- The sessions that live and are known: names, records, times of creation, the first created first; and how many were known
-- and live no more.
local function find_all()
  local names = size_of(KEYS[2]) > 0 and call('ZRANGE', KEYS[2], 0, MOST_KNOWN - 1) or {}
  local found, records, times, gone = {}, {}, {}, {}
  for _, name in ipairs(names) do
    local record, created = get(ARGV[1] .. name), nil
    if record then
      record, created = look(name, record)
    end
    if record then
      found[#found + 1], records[#records + 1], times[#times + 1] = name, record, created
    else
      gone[#gone + 1] = name
    end
  end
  remove(gone)
  return found, records, times, #gone
end

-- A reply that begins so and goes on with sessions.
local function told(reply, names, records)
  for i, name in ipairs(names) do
    reply[#reply + 1] = name
    reply[#reply + 1] = records[i]
  end
  reply[1] = broken
  return reply
end
