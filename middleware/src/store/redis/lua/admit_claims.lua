-- Purpose: decides a batch of requests of which some claim a session: proves each session, and decides its request as the user's
--          only if it lives and this is its secret, in one step.
--
-- Stands after refused.lua, value.lua and the functions `prove_session` and `admit_request`, which are the scripts of these names, whole.
--
-- KEYS     the requests in their order. Of one that claims a session: the 3 keys of session.lua, then the gates and logs that it
--          meets as the user's, then those that it meets without. Of any other: its gates and logs.
-- ARGV[1]  the requests, 5 bytes each, big-endian: 1 if it claims a session or 0, 1 byte; how many gates and logs there are the
--          first way and the other way (none but of a claim), 2 bytes each.
-- ARGV[2]  the charges of all ways, as admit_request.lua has them.
-- ARGV     from the third on five for each claim: the first five of prove_session.lua.
-- Reply    an array: why a full server took no charges, in words, or nothing; what admit_request.lua replies about the ways that count,
--          or nothing where there is nothing to decide; then for each claim what prove_session.lua replies, or in words why it
--          could not be proved.
--
-- Invariant: of a request that claims a session the keys of one way are read and written, and those of neither where the proof
-- failed. What fails for one session is no matter of the others, and a server that is full takes no charges and yet proves
-- sessions.

local CHARGE, PROVED = 14, 2
local guarded = pcall

local function words(failure)
  return type(failure) == 'table' and failure.err or tostring(failure)
end

local keys, plan, proofs = {}, {}, {}
local key, charge, argument = 1, 1, 3

-- Goes past the keys and charges of a way, and takes them if it is the one that counts.
local function pass(count, counts)
  if counts and count > 0 then
    for i = key, key + count - 1 do
      keys[#keys + 1] = KEYS[i]
    end
    plan[#plan + 1] = string.sub(ARGV[2], (charge - 1) * CHARGE + 1, (charge + count - 1) * CHARGE)
  end
  key, charge = key + count, charge + count
end

for at = 1, #ARGV[1], 5 do
  local claims, first, other = struct.unpack('>BI2I2', ARGV[1], at)
  local is_first, is_other = true, false
  if claims == 1 then
    local its = { ARGV[argument], ARGV[argument + 1], ARGV[argument + 2], ARGV[argument + 3], ARGV[argument + 4], '', '', '' }
    local answers, proof = guarded(prove_session, { KEYS[key], KEYS[key + 1], KEYS[key + 2] }, its)
    answers = answers and not proof.err
    is_first = answers and proof[2] == PROVED
    is_other = answers and not is_first
    proofs[#proofs + 1] = answers and proof or words(proof)
    key, argument = key + 3, argument + 5
  end
  pass(first, is_first)
  pass(other, is_other)
end

local failure, verdicts = '', ''
if #keys > 0 then
  local answers, reply = guarded(admit_request, keys, { table.concat(plan) })
  if answers then
    if type(reply) == 'table' then
      return reply
    end
    verdicts = reply
  else
    failure = words(reply)
    if not string.find(failure, 'OOM command', 1, true) then
      error(reply, 0)
    end
  end
end
return { failure, verdicts, unpack(proofs) }
