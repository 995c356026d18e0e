-- Purpose: counts what clients and users failed at, by exact sliding windows of distinct things on Redis TIME, and bans those that
--          reach a threshold, for longer at each offence; or bans by hand. A user is named as a client is here.
--
-- KEYS[1]  the index of all bans.
-- KEYS     then of each piece of evidence the client's ban, and the trail of what the client failed at; a ban by hand has
--          no trail.
-- ARGV[1]  the terms, 7 bytes each, big-endian, microseconds:
--            forget_after  from a ban's end until its offences are forgotten
--            lengths       from 1 ms: the ban for the first offence, for the second and so on, 1 to 64 of them; the last
--                          is for every further one
-- ARGV[2]  the evidence, 16 bytes each, big-endian:
--            reason     1 byte
--            threshold  2 bytes: how many distinct things of a window are an offence, 1 to 1000; 0 for a ban by hand, which
--                       is none
--            window     5 bytes, microseconds, 1 s to 24 h
--            thing      8 bytes of a hash
-- ARGV[3…] the client of each piece of evidence, as the index names it.
-- Reply    how many broken keys were replaced, and now; then for each ban that was imposed the place of its evidence from 0,
--          and the ban as it stands: reason, strikes, since, until. Times are microseconds of TIME.
--
-- A ban is the two bytes 9A 03; until when (7 bytes, microseconds of TIME), which other scripts read too; offences (2
-- bytes), reason (1 byte), since when without a break (7 bytes). The key expires when its offences are forgotten.
-- A ban from the future was left by a clock that stepped back: it begins anew, so that it never lasts for longer than it was
-- imposed for.
-- A trail is a sorted set of the things that the client failed at since its last ban, by the microsecond of TIME at which
-- each was last seen; fewer than the threshold.
-- The index is a sorted set of the clients by the millisecond at which their ban ends, rounded up; those that end first
-- leave it when there are more than 10,000, at most 2,000 in a call.
--
-- Invariant: what a client fails at during a ban does not count, nor what it failed at before one. So failures that were
-- under way when a ban began are no further offence, however many processes tell of them, and a client that goes on after
-- its ban is banned again when a threshold of things has come since. A ban ends no sooner than before, and no sooner than
-- its length from now. It counts while `until` is later than now.

local MAGIC = 0x9a03
local RECORD = 19
local NUMBER, EVIDENCE = 7, 16
local MOST_STRIKES = 65535
local MOST_LISTED = 10000
local MOST_FREED = 2000
local LONGEST_MS = 2 * 366 * 86400000
local SLACK_MS = 1000
local MOST_THINGS = 1000

local pack, unpack_at = struct.pack, struct.unpack
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min

local terms, plan = ARGV[1] or '', ARGV[2] or ''
local pieces, named = #plan / EVIDENCE, 1
if pieces >= 1 and pieces == floor(pieces) then
  for i = 0, pieces - 1 do
    named = named + (unpack_at('>I2', plan, i * EVIDENCE + 2) == 0 and 1 or 2)
  end
end
if named == 1 or named ~= #KEYS or named > 1001 or #ARGV < pieces + 2 or #terms < 2 * NUMBER or #terms % NUMBER ~= 0 then
  return redis.error_reply('ERR impose_ban wants an index, the 1 to 1000 KEYS of the evidence, terms of 7 bytes each, 16 '
    .. 'bytes of evidence each, and its clients')
end

local forget_after = unpack_at('>I7', terms)
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local broken = 0

-- Lua would write large numbers with an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

local bans = {}

local function read(key)
  local ban = bans[key]
  if ban then
    return ban
  end
  ban = { ends = 0, strikes = 0, reason = 0, since = 0 }
  local value = read_value(key, RECORD)
  if type(value) == 'string' and #value == RECORD and unpack_at('>I2', value) == MAGIC then
    ban.ends, ban.strikes, ban.reason, ban.since = unpack_at('>I7I2BI7', value, 3)
    if ban.since > now then
      ban.ends, ban.since = now + max(ban.ends - ban.since, 0), now
    end
  elseif value then
    drop(key)
    broken = broken + 1
  end
  if now >= ban.ends + forget_after then
    ban.ends, ban.strikes = 0, 0
  end
  bans[key] = ban
  return ban
end

-- Counts a thing of a client whose last ban ended then; whether it is an offence.
local function is_offence(trail, ended, threshold, window, thing)
  local size = try('ZCARD', trail)
  if is_refused(size) then
    call('ZCARD', trail)
  end
  if is_error(size) or size > MOST_THINGS then
    drop(trail)
    broken, size = broken + 1, 0
  end
  -- Things from the future, left by a clock that stepped back, become of now.
  local ahead = size > 0 and call('ZRANGE', trail, '(' .. whole(now), '+inf', 'BYSCORE') or {}
  local scored = { whole(now), thing }
  for _, known in ipairs(ahead) do
    scored[#scored + 1] = scored[1]
    scored[#scored + 1] = known
  end
  call('ZADD', trail, unpack(scored))
  call('ZREMRANGEBYSCORE', trail, '-inf', whole(max(now - window, ended - 1)))
  if call('ZCARD', trail) >= threshold then
    call('UNLINK', trail)
    return true
  end
  call('PEXPIREAT', trail, whole(ceil((now + window) / 1000) + SLACK_MS))
  return false
end

local listed = false

local function impose(key, ban, reason, strike, client)
  if ban.ends <= now then
    ban.since = now
  end
  ban.strikes = min(ban.strikes + strike, MOST_STRIKES)
  local step = max(1, min(ban.strikes, #terms / NUMBER - 1))
  local length = unpack_at('>I7', terms, NUMBER * step + 1)
  if now + length > ban.ends then
    ban.ends, ban.reason = now + length, reason
  end
  local record = pack('>I2I7I2BI7', MAGIC, ban.ends, ban.strikes, ban.reason, ban.since)
  call('SET', key, record, 'PXAT', whole(ceil((ban.ends + forget_after) / 1000)))
  local score = whole(ceil(ban.ends / 1000))
  if is_error(try('ZADD', KEYS[1], score, client)) then
    broken = broken + 1
    drop(KEYS[1])
    call('ZADD', KEYS[1], score, client)
  end
  listed = true
end

local reply = { 0, now }
local at = 2
for place = 0, pieces - 1 do
  local reason, threshold, window, thing = unpack_at('>BI2I5c8', plan, place * EVIDENCE + 1)
  local key, trail = KEYS[at], KEYS[at + 1]
  local ban, by_hand = read(key), threshold == 0
  local counts = not by_hand and ban.ends <= now
  if by_hand or counts and is_offence(trail, ban.ends, threshold, window, thing) then
    impose(key, ban, reason, by_hand and 0 or 1, ARGV[place + 3])
    for _, number in ipairs({ place, ban.reason, ban.strikes, ban.since, ban.ends }) do
      reply[#reply + 1] = number
    end
  end
  at = at + (by_hand and 1 or 2)
end

if listed then
  local ended = call('ZCOUNT', KEYS[1], '-inf', whole(floor(now / 1000)))
  if ended > 0 then
    call('ZREMRANGEBYRANK', KEYS[1], 0, min(ended, MOST_FREED) - 1)
  end
  local excess = call('ZCARD', KEYS[1]) - MOST_LISTED
  if excess > 0 then
    -- A part of what was planted at a time: no call is to hold the server for all of it.
    call('ZREMRANGEBYRANK', KEYS[1], 0, min(excess, MOST_FREED) - 1)
  end
  local last = call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  -- What somebody else wrote may have any score.
  call('PEXPIREAT', KEYS[1], whole(min(tonumber(last), now / 1000 + LONGEST_MS)))
end

reply[1] = broken
return reply
