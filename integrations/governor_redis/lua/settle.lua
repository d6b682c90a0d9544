-- Settle or release. KEYS: META, ledgers, leases, [run]. ARGV: epoch, process, numbers, id, expected, version, state, epoch of the lease.
-- numbers: own, loss_ms, state_ttl_ms, amounts (-1: release), and the amounts.
-- No charge is refused for what the server lost. Answers 9 for a lease that was lost, to be charged by `recharge`; behind the state, until
-- when hard budgets are frozen if this is the call that noticed.
local known_own, loss_ms, state_ttl_ms, amounts = struct.unpack('<dddd', ARGV[3])
local facts = redis.call('HMGET', META, 'e', PROCESS)
local noticed = lost(facts, known_own, loss_ms)
noticed = told_by(ARGV[8], loss_ms) or noticed
local wrote = write_state(KEYS[4], ARGV[5], ARGV[6], ARGV[7], state_ttl_ms)

local function says(code)
  redis.call('HSET', META, PROCESS, next_own())
  return answer(code, wrote, noticed and struct.pack('<d', now + loss_ms) or '')
end

local raw = redis.call('HGET', LEASES, ARGV[4])
local state = raw and string.sub(raw, 1, 1)
local of_before = ARGV[8] ~= '' and ARGV[8] ~= epoch
if not raw and amounts >= 0 and of_before then return says(9) end
if not raw or state == 'S' or state == 'L' or (amounts < 0 and state == 'F') then return says(1) end
local body, charged = unpacked(raw), nil
if amounts >= 0 then
  if amounts * 5 ~= #body - 3 then return says(8) end
  charged = {}
  for each = 1, amounts do charged[each] = struct.unpack('<d', ARGV[3], 25 + each * 8) end
end
if of_before then
  for each, key in ipairs(ledgers_of(body)) do
    if cache[key] and body[each * 5 + 2] == 0 then from_before(key, 0) end
  end
end
end_lease(body, state, charged)
flush()
redis.call('HSET', LEASES, ARGV[4], (amounts < 0 and 'L' or 'S') .. string.sub(raw, 2))
return says(1)
