-- Purpose: tells which of some clients are banned on Redis TIME.
--
-- KEYS     the clients' bans, as impose_ban.lua keeps them, 1 to 1000.
-- Reply    how many broken keys were met, and now; then for each client that is banned its place in KEYS from 0, and
--          of its ban the reason, the strikes, since and until. Times are microseconds of TIME.
--
-- Invariant: a client is banned while the end of its ban is later than now; a broken key is no ban, and no more of it is read
-- than a ban has. Only a ban from the future is written: it begins anew, so that a clock that stepped back makes no ban last for longer than it was imposed for.

local MAGIC = 0x9a03
local RECORD = 19

local unpack_at = struct.unpack

if #KEYS == 0 or #KEYS > 1000 then
  return redis.error_reply('ERR read_bans wants 1 to 1000 KEYS')
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local broken, reply = 0, { 0, now }

for place, key in ipairs(KEYS) do
  local value = read_value(key, RECORD)
  if type(value) == 'string' and #value == RECORD and unpack_at('>I2', value) == MAGIC then
    local ends, strikes, reason, since = unpack_at('>I7I2BI7', value, 3)
    if since > now then
      ends, since = now + math.max(ends - since, 0), now
      call('SET', key, struct.pack('>I2I7I2BI7', MAGIC, ends, strikes, reason, since), 'KEEPTTL')
    end
    if ends > now then
      for _, number in ipairs({ place - 1, reason, strikes, since, ends }) do
        reply[#reply + 1] = number
      end
    end
  elseif value then
    broken = broken + 1
  end
end

reply[1] = broken
return reply
