-- Purpose: finds the commands that a script may not call here, for lack of permission or of the command.
--
-- KEYS[1]  a key for trials, which is made by the first command and removed by the last
-- ARGV     the commands, each one text: its name and arguments with spaces between; `KEY` stands for KEYS[1]
-- Reply    an array: 0, then for each command that answered with an error its place from 0, and the error's words
--
-- Invariant: no key is left without an expiry. While the key holds a string no trial makes another; where the first
-- command fails, nothing else is tried that could make one.

local MAKES = { APPEND = true, HINCRBY = true, HSET = true, PFADD = true, SETRANGE = true, ZADD = true }

local failed = { 0 }
local held = true
for i = 1, #ARGV do
  local words = {}
  for word in ARGV[i]:gmatch('%S+') do
    words[#words + 1] = word == 'KEY' and KEYS[1] or word
  end
  if held or not MAKES[words[1]] then
    local answer = redis.pcall(unpack(words))
    if type(answer) == 'table' and answer.err then
      held = held and i > 1
      failed[#failed + 1] = i - 1
      failed[#failed + 1] = answer.err
    end
  end
end
return failed
