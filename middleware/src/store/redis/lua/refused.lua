-- Purpose: tells a command that is not allowed, or unknown, from a value of another type. Stands before each script that
--          bears such values, or the one would pass for the other: for an empty log, or for a broken record.

-- Whether the answer of a `pcall` is such an error. The command is then called again, for the error to be the script's.
local function is_refused(answer)
  return type(answer) == 'table' and answer.err and string.sub(answer.err, 1, 9) ~= 'WRONGTYPE'
end

