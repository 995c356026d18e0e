-- Purpose: removes keys, whatever they hold.
--
-- KEYS     what goes.
-- Reply    how many there were.

local removed = 0
for _, key in ipairs(KEYS) do
  if call('TYPE', key).ok ~= 'none' then
    drop(key)
    removed = removed + 1
  end
end
return removed
