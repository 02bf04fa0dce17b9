-- Requests out of prepared heads, each with an id of its own. Arguments: file of heads, requests before "warm" is said.
-- Kept cheap: one concatenation a request, no response hook (wrk would call it for every answer).
local threads = {}
sent, warm, heads, count = 0, 0, {}, 0

function setup(thread) table.insert(threads, thread) end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for head in file:read("*a"):gmatch("([^%z]+)%z") do
    count = count + 1
    heads[count] = head
  end
  file:close()
  warm = tonumber(args[2])
  run = string.format("%08x-0000-4000-8000-", os.time())
end

function request()
  sent = sent + 1
  if sent == warm then io.write("warm\n") io.flush() end
  return heads[sent % count + 1] .. run .. string.format("%012d\r\n\r\n", sent)
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "sent": %d, "bytes": %d, "errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
    summary.requests, threads[1]:get("sent"), summary.bytes, e.connect, e.read, e.write, e.timeout, e.status))
end
