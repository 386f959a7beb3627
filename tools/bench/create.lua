-- POST pods of about 5 kB with names <prefix>-<n>.
local count = 0
local body

function init(args)
   prefix = args[1]
   local padding = string.rep("x", 3000)
   body = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","labels":{"app":"bench","group":"g%d"},"annotations":{"note":"' ..
      padding .. '"}},"spec":{"nodeSelector":{"bench":"none"},"containers":[{"name":"c","image":"busybox",' ..
      '"env":[{"name":"A","value":"1"}],"resources":{"requests":{"cpu":"10m","memory":"16Mi"}}}]}}'
end

function request()
   count = count + 1
   local name = prefix .. "-" .. count
   return wrk.format("POST", nil, { ["Content-Type"] = "application/json", ["Authorization"] = wrk.headers["Authorization"] },
      string.format(body, name, count % 10))
end
