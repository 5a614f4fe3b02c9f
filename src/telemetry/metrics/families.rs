//! Every metric there is.

use super::{Family, Kind};

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Family =
                Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them, in the order of the page.
        pub static ALL: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    BUILD = Gauge "onedoor_build_info" ["version"] "Always 1; the label is the version that runs.";
    STARTED = Gauge "onedoor_start_time_seconds" [] "When the process started, in seconds since the Unix epoch.";
    CONNECTIONS = Gauge "onedoor_connections" [] "Client connections that are open.";
    ACCEPTED = Counter "onedoor_connections_total" [] "Client connections that were accepted.";
    TURNED_AWAY = Counter "onedoor_connections_turned_away_total" []
        "Client connections closed at once, because as many as `[server.limits] connections` were open.";
    CROWDED = Counter "onedoor_connections_crowded_out_total" []
        "Client connections closed at once, because their client had three quarters of all that may be open.";
    UNWELCOME = Counter "onedoor_connections_unwelcome_total" []
        "Client connections that ended before a request: no TLS handshake in time, or no PROXY header that is believed.";
    HEADS_REFUSED = Counter "onedoor_heads_refused_total" []
        "Requests whose head could not be parsed, answered with a bare 400, and connections that begin with HTTP/2 where it is not served. They are in no other metric.";
    REQUESTS = Tally "onedoor_requests_total" ["rule", "status", "reason"]
        "Requests that are over, by the status of the answer and, where the gateway itself refused, the reason. 499: the client left before the answer. No rule: refused before one was found, or the health page.";
    REQUEST_DURATION = Histogram "onedoor_request_duration_seconds" ["rule"]
        "From a request's head to the end of its response.";
    WOULD_REFUSE = Tally "onedoor_would_refuse_total" ["rule", "reason"]
        "Requests that passed only because their rule says `enforce = false`.";
    RECORDS_LEFT_OUT = Counter "onedoor_session_headers_too_large_total" ["rule"]
        "Requests whose session's record was longer than `session_header_max`, so that the upstream got `!too-large`.";
    VERDICTS = Counter "onedoor_session_verdicts_total" ["session", "verdict"]
        "What the cookies of requests turned out to be: `valid`, `unknown` (the store did not answer), or why there is no valid session.";
    MEMORY = Counter "onedoor_session_memory_total" ["session", "event"]
        "What memory was good for: `hit` (answered from it), `miss` (the store was read), and of the misses `unchanged` (memory held the same) and `overtaken` (the session changed meanwhile: not kept); `stale` (answered from it in an outage).";
    MEMORY_ARMED = Gauge "onedoor_session_memory_armed" []
        "1 while every change that is listened to is known to be heard, so that memory may be used.";
    UNREADABLE = Counter "onedoor_records_unreadable_total" ["format"]
        "Records in the store that could not be read as their format.";
    RESURRECTIONS = Counter "onedoor_resurrections_total" ["session"]
        "Records of sessions that were over for good and that an app wrote again. They are refused all the same.";
    SECRETS = Counter "onedoor_session_secrets_total" ["session", "secret"]
        "Valid sessions while `secrets` names several, by what their cookie is signed with: `newest` or `older`. When `older` no longer grows, the old secrets can go.";
    STREAMS_CUT = Counter "onedoor_streams_cut_total" ["session"]
        "WebSockets and other streams that were ended because their session was over.";
    STORE_UP = Gauge "onedoor_store_up" [] "1 while all connections to the store are up.";
    STORE_DURATION = Histogram "onedoor_store_duration_seconds" [] "How long the store took for a command.";
    STORE_ERRORS = Tally "onedoor_store_errors_total" ["reason"]
        "Commands that the store did not answer: `timeout`, `connection`, or `reply` (it refused).";
    UPSTREAM_DURATION = Histogram "onedoor_upstream_duration_seconds" ["upstream"]
        "From sending a request to the head of the upstream's answer.";
    UPSTREAM_ERRORS = Tally "onedoor_upstream_errors_total" ["upstream", "reason"]
        "Requests that an upstream gave no answer to, or none that can be trusted.";
    ENDPOINT_UP = Gauge "onedoor_endpoint_up" ["upstream", "endpoint"]
        "1 while an endpoint gets requests, 0 while it fails its checks or is ejected.";
    EJECTIONS = Counter "onedoor_ejections_total" ["upstream"]
        "How often an endpoint was taken out because requests to it failed.";
    RETRIES = Counter "onedoor_retries_total" ["upstream"]
        "Requests that were sent once more.";
    WEBSOCKETS = Gauge "onedoor_websockets" ["rule", "upstream"] "WebSockets that are open.";
    STREAMS = Gauge "onedoor_streams" ["rule", "upstream"]
        "Answers that go on: event streams, and others without a length from their fifth second on.";
    COOKIES_REMOVED = Counter "onedoor_set_cookies_removed_total" ["upstream"]
        "`Set-Cookie` lines of a session's name that the upstream may not set.";
    LOG_DROPPED = Counter "onedoor_log_lines_dropped_total" []
        "Log lines lost because nobody read the log fast enough.";
    RELOADS = Counter "onedoor_reloads_total" ["result"]
        "Changes of the configuration: `loaded`, or `refused` and the old one stayed.";
}
