-- Purpose: gives up the lease of the sweep.
--
-- KEYS[1]  the lease.
-- ARGV[1]  who gives it up
-- Reply    1 if it was held by them, else 0.
--
-- Invariant: nobody else's lease is touched.

if #KEYS ~= 1 or #ARGV ~= 1 then
  return redis.error_reply('ERR end_sweep wants the lease and a holder')
end
-- A key of another type answers with an error, which is no holder.
if redis.pcall('GETRANGE', KEYS[1], '0', string.format('%.0f', #ARGV[1])) == ARGV[1] then
  return redis.call('UNLINK', KEYS[1])
end
return 0
