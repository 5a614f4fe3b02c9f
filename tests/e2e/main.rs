//! The gateway from outside: one binary, one module per chapter of the README, real processes throughout.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![expect(clippy::print_stderr, reason = "a failed test shows the last words of its processes")]
#![expect(clippy::disallowed_methods, reason = "tests measure real time from outside")]

mod harness;

mod admin;
mod attacks;
mod balancing;
mod canaries;
mod chaos;
mod command_line;
mod cookie_guard;
mod crowds;
mod deletions;
mod differential;
mod drain;
mod express_site;
mod guards;
mod health;
mod http2;
mod identity;
mod lifetime;
mod limits;
mod log;
mod login_loop;
mod managed;
mod messages;
mod metrics;
mod near_cache;
mod near_cache_chaos;
mod paths;
mod placement;
mod proxy_protocol;
mod quick_start;
mod refusals;
mod reload;
mod rolling;
mod rules;
mod session_end;
mod sessions_express;
mod sessions_several;
mod socket_activation;
mod step_up;
mod store_outage;
mod tls;
mod topologies;
mod trailers;
mod upstreams;
mod upstreams_answers;
mod upstreams_connecting;
mod upstreams_early;
mod upstreams_http2;
mod upstreams_https;
mod upstreams_peers;
mod upstreams_resolved;
mod websockets;
mod websockets_http2;
