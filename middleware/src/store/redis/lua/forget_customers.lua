-- Purpose: forgets the customers of an index who were last active longest ago, where customers take more memory than they may.
--
-- KEYS     the two indices; then of each customer the hash.
-- ARGV[1]  the index, 1 or 2
-- ARGV[2…] of each customer the id; as many as ZRANGE named as the first of the index a moment ago.
-- Reply    how many keys held something else; how many were forgotten.
--
-- Invariant: who has been active since then, and so is not among the first any more, stays.

local index = ARGV[1] == '1' and 1 or 2
local customers = #ARGV - 1
if customers < 1 or #KEYS ~= customers + 2 then
  return redis.error_reply('ERR forget_customers wants two indices, a hash and an id for each customer, and an index')
end

local forgotten = 0
local last = not no_index[index] and call('ZRANGE', KEYS[index], customers - 1, customers - 1, 'WITHSCORES')[2]
for i = 1, customers do
  local id = ARGV[i + 1]
  local score = last and call('ZSCORE', KEYS[index], id)
  if score and tonumber(score) <= tonumber(last) then
    forget(KEYS[i + 2])
    forgotten = forgotten + call('ZREM', KEYS[index], id)
  end
end
return { broken, forgotten }
