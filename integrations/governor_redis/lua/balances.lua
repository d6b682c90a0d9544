-- Ledgers in key order. KEYS: ledgers, names, index. ARGV: from, to, how many.
local keys = redis.call('ZRANGEBYLEX', KEYS[3], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
if #keys == 0 then return {keys, {}, {}} end
return {keys, redis.call('HMGET', KEYS[1], unpack(keys)), redis.call('HMGET', KEYS[2], unpack(keys))}
