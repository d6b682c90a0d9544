-- A run's state and what is kept for it. KEYS: META, run. ARGV: epoch, process, numbers, expected, version, state, handle, text.
-- numbers: own, loss_ms, state_ttl_ms. Without a version it is asked whether the state is still the expected one.
local known_own, loss_ms, state_ttl_ms = struct.unpack('<ddd', ARGV[3])
local facts = redis.call('HMGET', META, 'e', PROCESS)
if lost(facts, known_own, loss_ms) then return answer(6, struct.pack('<d', now + loss_ms)) end
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[2], 'k:' .. ARGV[7], ARGV[8])
  redis.call('PEXPIRE', KEYS[2], state_ttl_ms)
end
local wrote = write_state(KEYS[2], ARGV[4], ARGV[5], ARGV[6], state_ttl_ms)
if ARGV[5] ~= '' or ARGV[7] ~= '' then
  redis.call('HSET', META, PROCESS, next_own())
  return answer(1, wrote)
end
local found = redis.call('HMGET', KEYS[2], 'v', 's', 'o')
if (found[1] or '') == ARGV[4] then return answer(1, {1, '', '', ''}) end
return answer(1, {2, found[1] or '', found[2] or '', found[3] or ''})
