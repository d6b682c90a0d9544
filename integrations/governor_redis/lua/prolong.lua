-- Dispatch or extend. KEYS: META, ledgers, leases, due, ends, names, index. ARGV: epoch, process, numbers, id. numbers: own, loss_ms, ttl_ms (-1: dispatch).
-- A dispatch of a lease past its time answers no, also while the sweep has not come to it.
local known_own, loss_ms, ttl_ms = struct.unpack('<ddd', ARGV[3])
local facts = redis.call('HMGET', META, 'e', PROCESS, 's')
if lost(facts, known_own, loss_ms) then return answer(6, struct.pack('<d', now + loss_ms)) end
redis.call('HSET', META, PROCESS, next_own())
if ttl_ms < 0 then swept(tonumber(facts[3] or MOST)) end
local raw = redis.call('HGET', LEASES, ARGV[4])
local state = raw and string.sub(raw, 1, 1)
if state ~= 'R' and state ~= 'D' then return answer(0) end
local due, number = struct.unpack('<dd', raw, 2)
if due <= now then return answer(0) end
if ttl_ms < 0 then
  state = 'D'
elseif now + ttl_ms > due then
  due = now + ttl_ms
  redis.call('ZADD', DUE, due, ARGV[4])
end
redis.call('HSET', LEASES, ARGV[4], state .. struct.pack('<dd', due, number) .. string.sub(raw, 18))
return answer(1)
