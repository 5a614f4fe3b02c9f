//! What upstreams learn about the caller: whatever a client says about identity is removed, then the truth is written.

mod encoding;

use crate::{
    access::Grant,
    config::identity::{self, SessionHeader, Value},
    http::{Head, arrival::Arrival, cookie_header, folded::Names, hop_by_hop, message, websocket},
    session::{CookieEdit, IdentityValues, Session},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

/// Carries the session's name on every request that has a session.
static SESSION: HeaderName = HeaderName::from_static("x-onedoor-session");
/// Stands for a record that is too long; nothing that is written as text or base64url begins with it.
const TOO_LARGE: &str = "!too-large";
/// About as many fields as are written.
const WRITTEN: usize = 10;
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Names that upstreams and their frameworks take for identity, whoever wrote them.
const KNOWN: [&str; 9] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
];
const KNOWN_PREFIXES: [&str; 2] = ["x-auth-request-", "x-onedoor-"];
/// Names by which upstreams let a header replace the method that a rule was chosen by.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Which headers carry identity, and what they carry.
#[derive(Debug)]
pub struct Identity {
    headers: Vec<(HeaderName, Value)>,
    session_header: Option<SessionHeader>,
    removed: Names,
}

/// A request that an upstream can trust: made by [`Identity::attach`] alone, and only from a [`Grant`].
#[derive(Debug)]
pub struct Forward {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    host: HeaderValue,
    websocket: bool,
    record_left_out: bool,
}

impl Identity {
    /// Takes `[identity]`; with `method_override` the headers that replace a method are left alone.
    pub fn compile(config: &identity::Identity, method_override: bool) -> Self {
        let session_header = config.session_header.iter().map(|header| header.name.as_str());
        let configured = config.headers.iter().map(|(name, _)| name.as_str()).chain(session_header);
        let overrides = METHOD_OVERRIDES.into_iter().filter(|_| !method_override);
        let removed = Names::new(configured.chain(KNOWN).chain(overrides), KNOWN_PREFIXES);
        Self { headers: config.headers.clone(), session_header: config.session_header.clone(), removed }
    }

    /// Makes the request that is forwarded to `target`; `prefix` is what a rule stripped from its path.
    ///
    /// The order is the argument: fields of the client's connection and every spelling of every identity name go first,
    /// so that `Connection` can name nothing that is written here; only then is anything written.
    pub fn attach(
        &self,
        head: Head,
        target: PathAndQuery,
        prefix: Option<&HeaderValue>,
        arrival: &Arrival,
        grant: &Grant,
    ) -> Forward {
        let websocket = websocket::is_asked_for(&head);
        let Head { method, mut headers, .. } = head;
        let is_ours = |name: &HeaderName| self.removed.contains(name) || arrival.replaces(name);
        hop_by_hop::strip(&mut headers, |name| is_ours(name) || *name == header::EXPECT);

        // Room for all that is written, so that the map grows once.
        headers.reserve(WRITTEN);
        arrival.write(&mut headers);
        if let Some(prefix) = prefix {
            headers.insert(PREFIX, prefix.clone());
        }
        if grant.withholds_cookies() {
            headers.remove(header::COOKIE);
        }
        edit_cookies(&mut headers, grant.cookie_edits());
        if let Some(session) = grant.session() {
            // Written once for a session that is answered from memory, which another [identity] makes forget it.
            let kept = session.identity.get_or_init(|| self.values(session));
            for (name, value) in self.names().zip(kept.values()) {
                if let Some(value) = value {
                    headers.insert(name, value);
                }
            }
            if let (Some(header), Some(record)) = (&self.session_header, kept.record()) {
                headers.insert(&header.name, record.clone());
            }
        }
        let left_out = |header: &SessionHeader| headers.get(&header.name).is_some_and(|value| value == TOO_LARGE);
        let record_left_out = self.session_header.as_ref().is_some_and(left_out);
        // A bad Host was refused before there was a grant; an empty one names nobody.
        let host = arrival.host.as_ref().map_or(HeaderValue::from_static(""), |host| host.authority.clone());
        if websocket {
            websocket::announce(&mut headers);
        }
        Forward { method, target, headers, host, websocket, record_left_out }
    }

    /// The identity headers that a request of this session carries.
    pub fn preview(&self, session: &Session) -> Vec<(HeaderName, HeaderValue)> {
        let kept = self.values(session);
        let whole =
            self.session_header.iter().zip(kept.record()).map(|(header, record)| (&header.name, record.clone()));
        let values = self.names().zip(kept.values()).filter_map(|(name, value)| Some((name, value?)));
        values.chain(whole).map(|(name, value)| (name.clone(), value)).collect()
    }

    /// The names of the short headers, in the order of [`IdentityValues::values`].
    fn names(&self) -> impl Iterator<Item = &HeaderName> {
        std::iter::once(&SESSION).chain(self.headers.iter().map(|(name, _)| name))
    }

    fn values(&self, session: &Session) -> IdentityValues {
        let value = |source: &Value| match source {
            Value::User => Some(encoding::text(&session.user)),
            Value::Roles => encoding::list(session.roles.iter().map(String::as_str)),
            Value::Session => Some(encoding::text(&session.name)),
            Value::Record(path) => session.record.at(path).and_then(encoding::value),
        };
        let configured = self.headers.iter().map(|(_, source)| value(source));
        let record = self.session_header.as_ref().map(|header| whole(session, header.bytes_max));
        IdentityValues::new(std::iter::once(Some(encoding::text(&session.name))).chain(configured), record)
    }
}

/// The whole record, unless it is too long.
fn whole(session: &Session, bytes_max: u64) -> HeaderValue {
    let value = encoding::base64url(&session.to_json());
    if value.len() as u64 > bytes_max { HeaderValue::from_static(TOO_LARGE) } else { value }
}

/// Lets the upstream see only the cookies that were judged, and on one line, which no server reads in two ways.
fn edit_cookies(headers: &mut HeaderMap, edits: &[CookieEdit]) {
    if edits.is_empty() && !cookie_header::is_split(headers) {
        return;
    }
    cookie_header::rewrite(headers, |pair| edits.iter().all(|edit| edit.keeps(pair)));
}

impl Forward {
    /// Whether the record was too long for its header.
    pub fn record_is_left_out(&self) -> bool {
        self.record_left_out
    }

    /// Whether it asks for a WebSocket.
    pub fn asks_for_websocket(&self) -> bool {
        self.websocket
    }

    /// With what a rule sets: never what says who is calling.
    pub fn edited(mut self, edits: &[(HeaderName, Option<HeaderValue>)]) -> Self {
        message::edit(&mut self.headers, edits);
        self
    }

    /// Method, target, headers, and the Host that the client asked for; the one among the headers is as it came.
    pub fn into_parts(self) -> (Method, PathAndQuery, HeaderMap, HeaderValue) {
        (self.method, self.target, self.headers, self.host)
    }
}

#[cfg(test)]
mod tests;
