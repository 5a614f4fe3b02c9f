//! Why a request has no valid session.

use super::value::Fault;

/// Why there is no valid session; for log, metrics and `explain`, never for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// No cookie of the session's name.
    NoCookie,
    /// The cookie does not have the format's shape.
    Malformed,
    /// No secret verifies the signature.
    BadSignature,
    /// The store holds no such record.
    NotFound,
    /// The session is older than `max_age`.
    Expired,
    /// The session was not used for `idle_timeout`.
    Idle,
    /// The record has no login time at `started_at`, which `max_age` needs.
    NoStart,
    /// The session was ended for good.
    Revoked,
    /// It was, and an app wrote its record again.
    Resurrected,
    /// The record itself says that it has ended.
    Lapsed,
    /// The record names no user.
    Anonymous,
    /// The record cannot be read.
    Unreadable(&'static str),
}

impl std::fmt::Display for Absence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCookie => f.write_str("no cookie"),
            Self::Malformed => f.write_str("the cookie does not have the format's shape"),
            Self::BadSignature => f.write_str("bad signature: no secret verifies the cookie"),
            Self::NotFound => f.write_str("not in the store: expired, logged out or never there"),
            Self::Expired => f.write_str("older than max_age"),
            Self::Idle => f.write_str("not used for idle_timeout"),
            Self::NoStart => f.write_str("no login time in the record at started_at, which max_age needs"),
            Self::Revoked => f.write_str("revoked: this session was ended for good"),
            Self::Resurrected => {
                f.write_str("revoked: this session was ended for good, and an app wrote its record again")
            }
            Self::Lapsed => f.write_str("over: the record, or the cookie, says when it ended"),
            Self::Anonymous => f.write_str("anonymous: the record names no user at the paths in `user`"),
            Self::Unreadable(why) => write!(f, "the record cannot be read as this format: {why}"),
        }
    }
}

impl From<Fault> for Absence {
    fn from(Fault(why): Fault) -> Self {
        Self::Unreadable(why)
    }
}

impl Absence {
    /// Whether the gateway knows the session to be over: to the app it may look alive.
    pub(super) fn is_our_doing(&self) -> bool {
        matches!(self, Self::Expired | Self::Idle | Self::NoStart | Self::Revoked | Self::Resurrected)
    }

    /// How close it came to a session: of several causes the closest is told.
    pub(super) fn closeness(&self) -> u8 {
        match self {
            Self::NoCookie => 0,
            Self::Malformed => 1,
            Self::BadSignature => 2,
            Self::NotFound => 3,
            Self::Unreadable(_) => 4,
            Self::Lapsed => 5,
            Self::Expired | Self::Idle | Self::NoStart | Self::Revoked | Self::Resurrected => 6,
            Self::Anonymous => 7,
        }
    }
}
