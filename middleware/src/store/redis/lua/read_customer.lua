-- Purpose: reads fields of a customer's hash.
--
-- KEYS[1]  the customer's hash.
-- ARGV     for each field its name, and the most bytes that it has.
-- Reply    the fields in their order, nothing for a missing one; `?`, which is none of ours, for a longer one.
--
-- Invariant: of a field that somebody else made long nothing is read.

local fields = {}
for i = 1, #ARGV, 2 do
  local size = try('HSTRLEN', KEYS[1], ARGV[i])
  if is_refused(size) then
    call('HSTRLEN', KEYS[1], ARGV[i])
  elseif is_error(size) then
    return size
  end
  local value = '?'
  if size <= tonumber(ARGV[i + 1]) then
    value = call('HGET', KEYS[1], ARGV[i])
  end
  fields[#fields + 1] = value
end
return fields
