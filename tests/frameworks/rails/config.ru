# An app on Action Dispatch's sessions in Redis. It knows nothing of the gateway. STORE says which of its stores:
# `redis` (redis-actionpack) or `cache` (the cache store). The gems are the distribution's packages.
require "action_dispatch"
require "active_support/all"
require "action_dispatch/middleware/session/redis_store"
require "json"

OPTIONS = { key: "_app_session", expire_after: 5400, path: "/" }.freeze
url = "redis://127.0.0.1:#{ENV.fetch("REDIS_PORT")}/0"

use ActionDispatch::Cookies
if ENV["STORE"] == "cache"
  use ActionDispatch::Session::CacheStore, **OPTIONS, cache: ActiveSupport::Cache::RedisCacheStore.new(url: url)
else
  use ActionDispatch::Session::RedisStore, **OPTIONS, servers: ["#{url}/session"]
end

answer = lambda do |status, body, headers = {}|
  [status, { "Content-Type" => "application/json" }.merge(headers), [JSON.generate(body)]]
end

run(lambda do |env|
  request = ActionDispatch::Request.new(env)
  session = request.session
  case "#{request.request_method} #{request.path}"
  when "GET /login"
    [200, { "Content-Type" => "text/html" }, ['<form method="post"><input name="user"><button>Log in</button></form>']]
  when "POST /login"
    request.reset_session
    user = request.params["user"] || "zoe"
    id = user.match?(/\A\d+\z/) ? user.to_i : user
    roles = (request.params["roles"] || "").split(",").reject(&:empty?)
    request.session["user"] = { "id" => id, "roles" => roles }
    request.session["count"] = 0
    [303, { "Location" => "/" }, []]
  when "POST /increment"
    next answer.(403, { error: "log in first" }) unless session["user"]
    session["count"] += 1
    answer.(200, { count: session["count"] })
  when "POST /logout"
    request.reset_session
    answer.(200, { bye: true })
  else
    seen = env.select { |name, _| name.start_with?("HTTP_") }
    seen = seen.to_h { |name, value| [name.delete_prefix("HTTP_").tr("_", "-").downcase, value] }
    answer.(200, { user: session["user"], count: session["count"], seen: seen })
  end
end)
