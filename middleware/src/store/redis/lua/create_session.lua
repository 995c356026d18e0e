-- Purpose: creates a session, unless the login was overtaken or the cap refuses it.
--
-- KEYS     as session.lua has them; then, if the create has a key of its own, what remembers it; then, if it has an origin,
--          the index of the origin.
-- ARGV     as session.lua has them, then
--   [3]    the id's digits.
--   [4]    the plan, big-endian:
--            began     1 byte, when the login began: 0 while the user had no epoch, 1 in an epoch, 2 at a moment; and 7
--                      bytes: the epoch's counter, or microseconds
--            random    6 bytes, below 2^47: what a new epoch begins at
--            most      2 bytes: how many sessions may live
--            on_max    1 byte, of one more: 0 the first created ends, 1 the login is refused, 2 it goes on
--            named     1 byte: 1 with a key of its own, 2 with an origin, 3 with both
--   [5]    the hash of the secret, 32 bytes.
--   [6]    the end of the record, from the lifetimes on.
--   [7]    the session as the index of its origin names it: the 16 bytes of the id, and the user.
-- Reply    after the broken keys: what became of it (0 new, 1 repeated, 2 ended, 3 overtaken, 4 at the cap, 5 full), and 1 if
--          there are more than may live now, else 0. Then of a new session or a repeated one the session; of a new one those
--          that it took the place of.
--
-- What remembers a key of a create is the two bytes 9A 09, when it was created (7 bytes, microseconds of TIME), and the id's
-- digits. It counts for ten minutes. The index of an origin is a sorted set by the microsecond of creation, of the newest
-- 10,000 within two hours.
--
-- Invariant: afterwards at most as many of the user's known sessions live as may, unless one more goes on; those that were
-- created first give way, of those created at once the lowest ids. A user has at most 1,024 sessions in any case. What is
-- refused changes nothing. An epoch that is made never was before, but by a chance of 2^-47.

local ONCE, KEPT = 0x9a09, 600000000
local ORIGIN_KEPT, MOST_OF_ORIGIN = 7200000000, 10000
local MOST_FREED = 2000
local NEW, REPEATED, ENDED, OVERTAKEN, AT_MAX, FULL = 0, 1, 2, 3, 4, 5
local EVICT, DENY = 0, 1

local name, plan = ARGV[3], ARGV[4]
if #ARGV ~= 7 or #name ~= 32 or #plan ~= 18 or #ARGV[5] ~= 32 or #ARGV[6] < HEAD - TAIL + 1 then
  return redis.error_reply('ERR create_session wants an id, a plan of 18 bytes, a hash, the end of a record and a name')
end
local began, moment, random, most, on_max, named = unpack_at('>BI7I6I2BB', plan)
local once = named % 2 == 1 and KEYS[4] or nil
local origin = named >= 2 and KEYS[#KEYS] or nil
if #KEYS ~= 3 + (once and 1 or 0) + (origin and 1 or 0) then
  return redis.error_reply('ERR create_session wants 3 KEYS and those that its plan names')
end

local made = once and get(once)
if made and #made == 41 and unpack_at('>I2', made) == ONCE then
  local at, id = unpack_at('>I7c32', made, 3)
  if at > now then
    at = now
    call('SET', once, pack('>I2I7c32', ONCE, at, id), 'PXAT', whole(ceil((at + KEPT) / 1000)))
  end
  if now < at + KEPT then
    local record = find(id)
    return told({ 0, record and REPEATED or ENDED, 0 }, record and { id } or {}, { record })
  end
elseif made then
  discard(once)
end

local overtaken
if began == 0 then
  overtaken = epoch and epoch.counter ~= epoch.birth
elseif began == 1 then
  overtaken = not epoch or epoch.counter ~= moment
else
  overtaken = epoch and epoch.ended > 0 and epoch.ended >= moment
end
if overtaken then
  return told({ 0, OVERTAKEN, 0 }, {}, {})
end

local names, records, times = find_all()
local leave = 0
if on_max == EVICT then
  leave = max(#names + 1 - most, 0)
elseif on_max == DENY and #names >= most then
  return told({ 0, AT_MAX, 0 }, {}, {})
end
if #names - leave >= MOST_KNOWN then
  return told({ 0, FULL, 0 }, {}, {})
end

local order, in_order = {}, true
if leave > 0 then
  for i in ipairs(names) do
    order[i] = i
    in_order = in_order and (i == 1 or times[i - 1] < times[i] or times[i - 1] == times[i] and names[i - 1] < names[i])
  end
end
if not in_order then
  -- One was met in the future, and filed anew while the index was read.
  table.sort(order, function(a, b)
    if times[a] ~= times[b] then
      return times[a] < times[b]
    end
    return names[a] < names[b]
  end)
end
local evicted, of, created = { name }, {}, {}
for i = 1, leave do
  evicted[i + 1], of[i + 1], created[i] = names[order[i]], records[order[i]], times[order[i]]
end
finish({ unpack(evicted, 2) }, created)

epoch = epoch or { birth = random, counter = random, ended = 0, kept = 0 }
local record = SESSION .. pack('>I6', epoch.counter) .. ARGV[5] .. pack('>I7I7I7', now, now, now) .. ARGV[6]
local _, absolute = unpack_at('>I6I6', ARGV[6])
write_epoch(now + absolute)
write(name, record)
count('c', now, 1)
if once then
  call('SET', once, pack('>I2I7c32', ONCE, now, name), 'PXAT', whole(ceil((now + KEPT) / 1000)))
end
if origin then
  size_of(origin)
  call('ZADD', origin, whole(now), ARGV[7])
  -- Those that are too old or too many, a part at a time.
  local old = call('ZCOUNT', origin, '-inf', whole(now - ORIGIN_KEPT))
  local excess = max(old, call('ZCARD', origin) - MOST_OF_ORIGIN)
  if excess > 0 then
    call('ZREMRANGEBYRANK', origin, 0, min(excess, MOST_FREED) - 1)
  end
  call('PEXPIREAT', origin, whole(ceil((now + ORIGIN_KEPT) / 1000) + SLACK_MS))
end
of[1] = record
return told({ 0, NEW, #names + 1 - leave > most and 1 or 0 }, evicted, of)
