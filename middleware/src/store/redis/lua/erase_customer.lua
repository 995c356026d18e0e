-- Purpose: forgets a customer, and for a while what happened before.
--
-- KEYS     the two indices, the customer's hash, the key that remembers the erasure.
-- ARGV[1]  the customer's id
-- ARGV[2]  the moment of the erasure, milliseconds since 1970
-- ARGV[3]  for how long it is remembered, milliseconds
-- Reply    1 if there was anything to forget, else 0.
--
-- Invariant: afterwards nothing but the moment is kept of the customer, and of several moments the latest.

local id, at, remembered = ARGV[1], whole(ARGV[2]), ARGV[3]
if #KEYS ~= 4 or #ARGV ~= 3 or not (at and whole(remembered)) then
  return redis.error_reply('ERR erase_customer wants two indices, two KEYS, an id, a moment and a time')
end

call('SET', KEYS[4], digits(max(at, erased_until(KEYS[4]))), 'PX', remembered)
local forgotten = forget(KEYS[3]) and 1 or 0
for i = 1, 2 do
  if not no_index[i] then
    forgotten = forgotten + call('ZREM', KEYS[i], id)
  end
end
return forgotten > 0 and 1 or 0
