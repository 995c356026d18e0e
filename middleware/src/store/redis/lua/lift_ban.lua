-- Purpose: ends a client's ban on Redis TIME, and forgets its offences and what counts towards the next.
--
-- KEYS[1]  the client's ban, as impose_ban.lua keeps it.
-- KEYS[2]  the index of all bans.
-- ARGV[1]  the client, as the index names it.
-- Reply    how many broken keys were met, and 1 if the client was banned, else 0.
--
-- Invariant: afterwards the client's ban has ended now, without offences, and is in the index no more. So nothing that came
-- before counts towards the next, under whatever thresholds it was counted: the key is kept for the longest window.

local MAGIC = 0x9a03
local RECORD = 19
local KEPT_MS = 86401000

if #KEYS ~= 2 or #ARGV < 1 then
  return redis.error_reply('ERR lift_ban wants a ban, an index, and a client')
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local broken, banned = 0, 0

local value = read_value(KEYS[1], RECORD)
if type(value) == 'string' and #value == RECORD and struct.unpack('>I2', value) == MAGIC then
  if struct.unpack('>I7', value, 3) > now then
    banned = 1
  end
elseif value then
  drop(KEYS[1])
  broken = 1
end

call('SET', KEYS[1], struct.pack('>I2I7I2BI7', MAGIC, now, 0, 0, now), 'PX', string.format('%.0f', KEPT_MS))
if type(try('ZREM', KEYS[2], ARGV[1])) == 'table' then
  broken = broken + 1
  drop(KEYS[2])
end

return { broken, banned }
