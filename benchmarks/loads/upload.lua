-- The same POST again and again. Arguments: size of its body in bytes. Without a request() of its own wrk sends one
-- prepared buffer and copies nothing.
function init(args)
  wrk.method, wrk.path = "POST", "/upload"
  wrk.headers["Host"] = "shop.example.com"
  wrk.headers["Content-Type"] = "application/octet-stream"
  wrk.headers["Cookie"] = "uid=0000000001"
  wrk.body = string.rep("0123456789abcdef", tonumber(args[1]) / 16)
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "sent": %d, "bytes": %d, "errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
    summary.requests, summary.requests, summary.bytes, e.connect, e.read, e.write, e.timeout, e.status))
end
