-- PATCH or DELETE the objects <path>/<prefix>-<n>, each once (DELETE) or round and round (PATCH, up to `limit`).
-- wrk makes one request before it starts and sends it nowhere: the first object is never there.
local count = 1

function init(args)
   method, prefix, limit = args[1], args[2], tonumber(args[3])
end

function request()
   count = count + 1
   local index = method == "PATCH" and (count - 2) % (limit - 1) + 2 or count
   local body = nil
   local kind = "application/json"
   if method == "PATCH" then
      kind = "application/merge-patch+json"
      body = '{"metadata":{"annotations":{"n":"' .. count .. '"}}}'
   else
      body = '{"gracePeriodSeconds":0}'
   end
   return wrk.format(method, wrk.path .. "/" .. prefix .. "-" .. index,
      { ["Content-Type"] = kind, ["Authorization"] = wrk.headers["Authorization"] }, body)
end
