local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = tonumber(redis.call('GET', KEYS[1]) or now)
if ARGV[3] == 'return' then
  local left = kept - interval - now
  if left <= 0 then
    redis.call('DEL', KEYS[1])
    return 0
  end
  redis.call('SET', KEYS[1], string.format('%.0f', now + left), 'PX', math.ceil(left / 1000))
  return left
end
local level = math.max(kept - now, 0) + interval
if level > tolerance then
  return tolerance - level
end
if ARGV[3] == 'take' then
  redis.call('SET', KEYS[1], string.format('%.0f', now + level), 'PX', math.ceil(level / 1000))
end
return level
