-- The run that a thread has. KEYS: thread, run. ARGV: the run that the caller believes it to have, run to have, version, state, ttl_ms.
-- With a state the new run begins with it, unless it has begun. Answers the run that the thread has now.
local before = redis.call('GET', KEYS[1]) or ''
if before ~= ARGV[1] and before ~= ARGV[2] then return before end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[5])
if ARGV[4] ~= '' and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[2], 'v', ARGV[3], 's', ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return ARGV[2]
