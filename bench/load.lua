-- The load for wrk: every request is built before the first is sent.
-- Arguments: number of clients, path, number of threads.
-- Client n comes from its own address in 10.0.0.0/8, named by the proxy that wrk stands for, with its own user.
local requests = {}
local sent = 0
local threads = 0

-- Runs before the threads start: each gets its number, and starts at another client than its neighbours.
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  local clients, path = tonumber(args[1]), args[2]
  for n = 0, clients - 1 do
    local address = string.format("10.%d.%d.%d", math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
    requests[n + 1] = wrk.format("GET", path, {
      ["X-Forwarded-For"] = address,
      ["Authorization"] = "Bearer user-token-c" .. n,
    })
  end
  sent = math.floor(clients * number / tonumber(args[3]))
end

function request()
  sent = sent % #requests + 1
  return requests[sent]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("result %d %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write, errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99), latency.max))
end
