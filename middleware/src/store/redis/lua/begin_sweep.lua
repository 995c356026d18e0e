-- Purpose: takes or renews the lease of the sweep, and names the customers that its next step checks.
--
-- KEYS     the two indices, the lease.
-- ARGV[1]  who sweeps
-- ARGV[2]  how long the lease lasts, milliseconds
-- ARGV[3]  the index that is walked, 1 or 2
-- ARGV[4]  where its walk stands: the cursor of ZSCAN
-- ARGV[5]  about how many the walk returns, and at most how many of each index the quiet are
-- ARGV[6]  who was last active before this has gone without a change for the retention, unless it was loaded:
--          milliseconds since 1970
-- ARGV[7…] how many of the quiet of each index to pass over
-- Reply    nothing while another holds the lease; else the walk's next cursor, the ids it found, and the quiet ids of
--          each index.
--
-- Invariant: the lease expires, and nobody but its holder renews it.

local holder, lasts, walked, cursor, count, before = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
if #KEYS ~= 3 or #ARGV ~= 8 or not (walked == 1 or walked == 2) or not (whole(lasts) and whole(count)) then
  return redis.error_reply('ERR begin_sweep wants two indices, a lease and eight ARGV')
end

local held = read_value(KEYS[3], #holder)
local is_held = type(held) == 'string' and #held == #holder
if is_held and held ~= holder and call('PTTL', KEYS[3]) >= 0 then
  return false
end
if held and not is_held then
  discard(KEYS[3])
end
call('SET', KEYS[3], holder, 'PX', lasts)

local reply = { '0', {}, {}, {} }
if not no_index[walked] then
  local found = call('ZSCAN', KEYS[walked], cursor, 'COUNT', count)
  reply[1] = found[1]
  for i = 1, #found[2], 2 do
    table.insert(reply[2], found[2][i])
  end
end
for i = 1, 2 do
  if not no_index[i] then
    local quiet = call('ZCOUNT', KEYS[i], '-inf', '(' .. before)
    local from = whole(ARGV[6 + i]) or 0
    if from >= quiet then
      from = 0
    end
    if quiet > 0 then
      reply[2 + i] = call('ZRANGE', KEYS[i], digits(from), digits(min(from + tonumber(count), quiet) - 1))
    end
  end
end
return reply
