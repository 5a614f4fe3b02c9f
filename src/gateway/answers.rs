//! What the gateway itself answers: refusals as problem JSON, page or redirect to login, and what rules say.

use super::{
    body::Body,
    exchange::Exchange,
    grpc,
    refusal::{Face, Reason, Refusal},
};
use crate::{
    config::{self, pages::Pages},
    http::{
        host::Host,
        path::NormalPath,
        site::{PublicUrl, Site},
    },
};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, VARY, WWW_AUTHENTICATE},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// A way back that is longer than this many bytes when encoded is left out.
const WAY_BACK_BYTES_MAX: usize = 2048;

/// Methods that are never refused for themselves; others that are not CONNECT or TRACE pass as well.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What a query parameter's value may hold as it is (RFC 3986 section 2.3).
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the refusals of one configuration need to know.
#[derive(Debug, Default)]
pub struct Answers {
    /// Of each session.
    logins: Vec<Login>,
    pages: Pages,
}

#[derive(Debug)]
struct Login {
    to: String,
    return_to: Option<String>,
}

/// A problem body (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    reason: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'a str>,
}

impl Answers {
    /// `pages` stand instead of the built-in ones.
    pub fn compile(sessions: &[config::session::Session], pages: &Pages) -> Self {
        let login = |session: &config::session::Session| Login {
            to: session.login.clone(),
            return_to: session.return_to.clone(),
        };
        Self { logins: sessions.iter().map(login).collect(), pages: pages.clone() }
    }

    /// The answer to a refused request.
    pub fn refuse(&self, mut refusal: Refusal, exchange: &mut Exchange) -> Response<Body> {
        let (reason, exceeded) = (refusal.reason, refusal.exceeded.take());
        exchange.refused(refusal);
        let again = reason == Reason::ReauthenticationRequired;
        let helps = reason.asks_for_login() || matches!(reason, Reason::LoginLoop(_));
        let login = self.logins.get(exchange.login()).filter(|_| helps);
        let redirects = reason.asks_for_login() && exchange.is_redirected();
        let face = reason.face();
        let to = login.filter(|_| redirects).and_then(|login| login.location(again, exchange));
        let mut response = match (exchange.grpc.clone(), to) {
            (Some(kind), _) => grpc::refuse(&face, kind),
            (None, Some(location)) => {
                let mut response = Response::new(Body::own(""));
                *response.status_mut() = StatusCode::SEE_OTHER;
                response.headers_mut().insert(LOCATION, location);
                response
            }
            (None, None) => self.answer(reason, login.map(|login| login.page(again)).as_deref(), exchange),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(status) = HeaderValue::try_from(format!("onedoor; error={}", face.proxy_error)) {
            headers.insert("proxy-status", status);
        }
        if reason == Reason::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        if reason.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = reason.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if let Some(exceeded) = exceeded {
            exceeded.write(headers);
        }
        if reason.asks_for_login() {
            headers.insert(VARY, HeaderValue::from_static("Cookie, Accept, Sec-Fetch-Mode"));
            if response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Session"));
            }
        }
        response
    }

    /// A page where a browser wants to show one, else problem JSON.
    fn answer(&self, reason: Reason, login: Option<&str>, exchange: &Exchange) -> Response<Body> {
        let (face, detail) = (reason.face(), reason.detail());
        let request_id = exchange.arrival().request_id.to_str().unwrap_or_default();
        let (kind, body): (_, Bytes) = if exchange.is_navigation() {
            let own = self.pages.0.iter().find(|(status, _)| *status == face.status);
            let page = own.map_or_else(|| page(&face, detail, login, request_id).into(), |(_, page)| page.clone());
            ("text/html; charset=utf-8", page)
        } else {
            let (status, title, reason) = (face.status.as_u16(), face.title, face.label);
            let problem = Problem { kind: "about:blank", title, status, reason, request_id, detail, login };
            // A problem holds nothing that JSON cannot.
            ("application/problem+json", serde_json::to_string(&problem).unwrap_or_default().into())
        };
        let mut response = Response::new(Body::own(body));
        *response.status_mut() = face.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    /// The answer of a rule with `redirect`.
    pub fn redirect(to: &HeaderValue) -> Response<Body> {
        let mut response = Response::new(Body::own(""));
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(LOCATION, to.clone());
        response
    }

    /// The answer of a rule with `respond`.
    pub fn respond(status: StatusCode, body: &Bytes) -> Response<Body> {
        let mut response = Response::new(Body::own(body.clone()));
        *response.status_mut() = status;
        if !body.is_empty() {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        response
    }

    /// The answer to a request for one of `redirect_hosts`.
    pub fn elsewhere(site: &Site, path: &NormalPath) -> Response<Body> {
        let url = site.public_url().map_or(String::new(), ToString::to_string);
        // Both parts are ASCII without controls.
        let to = HeaderValue::try_from(format!("{url}{}", path.target()));
        Self::redirect(&to.unwrap_or(HeaderValue::from_static("/")))
    }

    /// The answer at the address that sends everybody to https, which is served on `port`.
    pub fn to_https(site: &Site, host: &Host, port: u16, path: &NormalPath) -> Response<Body> {
        let here = || PublicUrl { https: true, host: host.name().to_owned(), port };
        let url = site.public_url().filter(|url| url.https).cloned().unwrap_or_else(here);
        let to = HeaderValue::try_from(format!("{url}{}", path.target()));
        Self::redirect(&to.unwrap_or(HeaderValue::from_static("/")))
    }

    /// `/_onedoor/healthz`.
    pub fn health(draining: bool) -> Response<Body> {
        let (status, text) =
            if draining { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") } else { (StatusCode::OK, "ok\n") };
        let mut response = Response::new(Body::own(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Login {
    /// The login page, which must ask for the password of who is logged in, too, if he is to log in again.
    fn page(&self, again: bool) -> String {
        if again { with_query(&self.to, "reauth=1") } else { self.to.clone() }
    }

    fn location(&self, again: bool, exchange: &Exchange) -> Option<HeaderValue> {
        let back = self.return_to.as_ref().and_then(|parameter| {
            let back = exchange.way_back();
            let encoded = utf8_percent_encode(&back, QUERY_VALUE).to_string();
            (encoded.len() <= WAY_BACK_BYTES_MAX).then(|| format!("{parameter}={encoded}"))
        });
        let page = self.page(again);
        HeaderValue::try_from(back.map_or(page.clone(), |back| with_query(&page, &back))).ok()
    }
}

/// A path or URL with one more parameter.
fn with_query(to: &str, parameter: &str) -> String {
    let separator = if to.contains('?') { '&' } else { '?' };
    format!("{to}{separator}{parameter}")
}

fn page(face: &Face, detail: Option<&str>, login: Option<&str>, request_id: &str) -> String {
    let detail = detail.map_or(String::new(), |detail| format!("<p>{}</p>", escape(detail)));
    let login = login.map_or(String::new(), |to| format!("<p><a href=\"{}\">Log in</a></p>", escape(to)));
    let (status, title, reason, request_id) = (face.status.as_u16(), face.title, face.label, escape(request_id));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {title}</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}\
         small{{color:#666}}</style></head><body><h1>{title}</h1>{detail}{login}\
         <p><small>{status} {reason} · request {request_id}</small></p></body></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
