-- Purpose: bans a client on Redis TIME, for longer at each offence.
--
-- KEYS[1]  the client's ban.
-- KEYS[2]  the index of all bans.
-- ARGV[1]  the client, as the index names it.
-- ARGV[2]  the terms, big-endian:
--            reason        1 byte
--            strike        1 byte: 1 for an offence, 0 for a ban by hand
--            forget_after  7 bytes, microseconds from a ban's end until its offences are forgotten
--            lengths       7 bytes each, microseconds, from 1 ms: the ban for the first offence, for the second and so
--                          on, 1 to 64 of them; the last is for every further one
-- Reply    how many broken keys were replaced; then the ban as it stands: reason, strikes, since, until; and now. Times
--          are microseconds of TIME.
--
-- A ban is the two bytes 9A 03; until when (7 bytes, microseconds of TIME), which other scripts read too; offences (2
-- bytes), reason (1 byte), since when without a break (7 bytes). The key expires when its offences are forgotten. Should
-- the server's clock step back, bans last longer by the step.
-- The index is a sorted set of the clients by the millisecond at which their ban ends, rounded up; those that end first
-- leave it when there are more than 10,000.
--
-- Invariant: the ban ends no sooner than before and no sooner than its length from now. It counts while `until` is later
-- than now. Everything is evaluated before anything is written.

local MAGIC = 0x9a03
local RECORD = 19
local TERMS, LENGTH = 9, 7
local MOST_STRIKES = 65535
local MOST_LISTED = 10000

local call, try = redis.call, redis.pcall
local pack, unpack_at = struct.pack, struct.unpack
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min

local terms = ARGV[2]
if #KEYS ~= 2 or #ARGV < 2 or #terms < TERMS + LENGTH or (#terms - TERMS) % LENGTH ~= 0 then
  return redis.error_reply('ERR impose_ban wants 2 KEYS, a client, and terms of 9 bytes and 7 for each length')
end

local reason, strike, forget_after = unpack_at('>BBI7', terms)
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local broken = 0

local ends, strikes, held_reason, since = 0, 0, 0, 0
-- A value of another type answers with an error, and SET replaces it.
local value = try('GET', KEYS[1])
if type(value) == 'string' and #value == RECORD and unpack_at('>I2', value) == MAGIC then
  ends, strikes, held_reason, since = unpack_at('>I7I2BI7', value, 3)
elseif value then
  broken = 1
end
if now >= ends + forget_after then
  ends, strikes = 0, 0
end
if ends <= now then
  since = now
end

strikes = min(strikes + strike, MOST_STRIKES)
local step = max(1, min(strikes, (#terms - TERMS) / LENGTH))
local length = unpack_at('>I7', terms, TERMS + 1 + (step - 1) * LENGTH)
if now + length > ends then
  ends = now + length
else
  reason = held_reason
end

-- Lua would write large numbers with an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

local record = pack('>I2I7I2BI7', MAGIC, ends, strikes, reason, since)
call('SET', KEYS[1], record, 'PXAT', whole(ceil((ends + forget_after) / 1000)))

local score = whole(ceil(ends / 1000))
local listed = try('ZADD', KEYS[2], score, ARGV[1])
if type(listed) == 'table' then
  broken = broken + 1
  call('DEL', KEYS[2])
  call('ZADD', KEYS[2], score, ARGV[1])
end
call('ZREMRANGEBYSCORE', KEYS[2], '-inf', whole(floor(now / 1000)))
local excess = call('ZCARD', KEYS[2]) - MOST_LISTED
if excess > 0 then
  call('ZREMRANGEBYRANK', KEYS[2], 0, excess - 1)
end
local last = call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
call('PEXPIREAT', KEYS[2], whole(tonumber(last)))

return { broken, reason, strikes, since, ends, now }
