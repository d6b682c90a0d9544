-- Settle or release. KEYS: META, ledgers, leases, [run]. ARGV: epoch, process, numbers, id, expected, version, state.
-- numbers: own, loss_ms, state_ttl_ms, amounts (-1: release), and the amounts.
local known_own, loss_ms, state_ttl_ms, amounts = struct.unpack('<dddd', ARGV[3])
local facts = redis.call('HMGET', META, 'e', PROCESS)
if lost(facts, known_own, loss_ms) then return answer(6, struct.pack('<d', now + loss_ms)) end
local wrote = write_state(KEYS[4], ARGV[5], ARGV[6], ARGV[7], state_ttl_ms)

local function says(code)
  redis.call('HSET', META, PROCESS, next_own())
  return answer(code, wrote)
end

local raw = redis.call('HGET', LEASES, ARGV[4])
local state = raw and string.sub(raw, 1, 1)
if not raw or state == 'S' or state == 'L' or (amounts < 0 and state == 'F') then return says(1) end
local body, charged = unpacked(raw), nil
if amounts >= 0 then
  if amounts * 5 ~= #body - 3 then return says(8) end
  charged = {}
  for each = 1, amounts do charged[each] = struct.unpack('<d', ARGV[3], 25 + each * 8) end
end
end_lease(body, state, charged)
flush()
redis.call('HSET', LEASES, ARGV[4], (amounts < 0 and 'L' or 'S') .. string.sub(raw, 2))
return says(1)
