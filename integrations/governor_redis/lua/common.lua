-- Every script that writes begins with this. KEYS[1] is the store's own facts (META); ARGV[1] the epoch that the caller knows, ARGV[2] the
-- caller's process, ARGV[3] numbers as little-endian doubles. Numbers are exact to 2^53 and are never joined to strings: `..` keeps 14 digits.
local META, SEEN, PROCESS = KEYS[1], ARGV[1], 'p:' .. ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local KEEP_MS = 24 * 3600000

-- What this process has done last, by the server: a number that rises with its every write. A server that knows less has lost something.
local own, epoch

-- Whether the server lost what the caller knows. It then has a new epoch, and hard budgets are frozen until `loss_ms` from now.
local function lost(facts, known, loss_ms)
  epoch, own = facts[1], tonumber(facts[2] or 0)
  if epoch and (SEEN == '' or (epoch == SEEN and own >= known)) then return false end
  if epoch and epoch ~= SEEN and redis.call('HEXISTS', META, 'w:' .. SEEN) == 1 then return false end
  local before = epoch
  epoch = ARGV[2] .. '.' .. clock[1] .. '.' .. clock[2]
  redis.call('HSET', META, 'e', epoch)
  if SEEN == '' then return false end
  redis.call('HSET', META, 'z', now + loss_ms, 'w:' .. SEEN, 1)
  if before then redis.call('HSET', META, 'w:' .. before, 1) end
  return true
end

-- The same, told by a lease that was granted under another epoch: who holds it may never have spoken to this server.
local function told_by(granted, loss_ms)
  if granted == '' or granted == epoch or redis.call('HEXISTS', META, 'w:' .. granted) == 1 then return false end
  redis.call('HSET', META, 'z', now + loss_ms, 'w:' .. granted, 1)
  return true
end

-- The number of this write, to be stored under PROCESS: microseconds, so that it also tells when a process was last heard of.
local function next_own()
  own = math.max(own + 1, now * 1000)
  return own
end

-- What every answer begins with: its code, the epoch if the caller does not know it, and numbers.
local function answer(code, ...)
  return {code, epoch == SEEN and '' or epoch, struct.pack('<d', own), ...}
end

-- Replace a run's state if it is still at version `expected`. Answers 0 (nothing to do), 1 (it is written), or 2 with what there is instead:
-- its version, the state, and the versions before it, among which a write that was repeated after others came finds itself.
local function write_state(run, expected, version, state, ttl_ms)
  if not run or version == '' then return {0, '', '', ''} end
  local found = redis.call('HMGET', run, 'v', 's', 'o')
  local current, older = found[1] or '', found[3] or ''
  if current == version then return {1, '', '', ''} end
  if current ~= expected then return {2, current, found[2] or '', older} end
  redis.call('HSET', run, 'v', version, 's', state, 'o', string.sub(current .. ' ' .. older, 1, 330))
  redis.call('PEXPIRE', run, ttl_ms)
  return {1, '', '', ''}
end
