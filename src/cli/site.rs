//! The counter site's two services, as plain as any: `writer` owns login and count, `reader` the rest.
//!
//! They know nothing of cookies or stores. The writer steers the session with response headers, the reader believes
//! the request headers that the gateway sets.

use crate::tasks;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LOCATION},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use std::{convert::Infallible, io, net::TcpListener as StdTcpListener};
use tokio::net::TcpListener;

/// Everybody who logs in here.
const USER: &str = "zoe";

/// Both services, bound but not yet served.
#[derive(Debug)]
pub(super) struct Site {
    writer: StdTcpListener,
    reader: StdTcpListener,
}

type Answer = Response<Full<Bytes>>;

impl Site {
    /// Binds both to free ports of the loopback interface.
    pub(super) fn bind() -> io::Result<Self> {
        let bind = || {
            let listener = StdTcpListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>(listener)
        };
        Ok(Self { writer: bind()?, reader: bind()? })
    }

    pub(super) fn writer_url(&self) -> String {
        url(&self.writer)
    }

    pub(super) fn reader_url(&self) -> String {
        url(&self.reader)
    }

    /// Serves both on the current runtime.
    pub(super) fn serve(self) -> io::Result<()> {
        serve(self.writer, write)?;
        serve(self.reader, read)
    }
}

fn url(listener: &StdTcpListener) -> String {
    listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default()
}

fn serve(listener: StdTcpListener, answer: fn(&Request<Incoming>) -> Answer) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    tasks::background(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tasks::background(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let response = answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                // The gateway closes connections when it likes.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(())
}

/// `/login`, `/increment`, `/logout`.
fn write(request: &Request<Incoming>) -> Answer {
    let browser = wants_page(request.headers());
    match request.uri().path() {
        "/login" if browser && request.method() == Method::GET => {
            page("Log in", &format!("<form method=\"post\"><button>Log in as {USER}</button></form>"))
        }
        "/login" => {
            let command = format!(r#"{{"user":{{"id":"{USER}"}},"count":0}}"#);
            let done = done(browser, &way_back(request.uri()), &format!("{{\"user\":\"{USER}\"}}\n"));
            steer(done, "session-login", &command)
        }
        "/increment" if user(request.headers()).is_none() => {
            json(StatusCode::UNAUTHORIZED, "{\"error\":\"log in first\"}\n")
        }
        "/increment" => steer(done(browser, "/", "{\"counted\":1}\n"), "session-increment", r#"{"count":1}"#),
        "/logout" => steer(done(browser, "/", "{\"user\":null}\n"), "session-logout", "this"),
        _ => json(StatusCode::NOT_FOUND, "{\"error\":\"not found\"}\n"),
    }
}

/// Everything else: who is calling, and how far the count is.
fn read(request: &Request<Incoming>) -> Answer {
    let user = user(request.headers()).unwrap_or_default();
    let count = request.headers().get("x-session-count").and_then(|count| count.to_str().ok()).unwrap_or("0");
    if !wants_page(request.headers()) {
        return json(StatusCode::OK, &format!("{{\"user\":\"{user}\",\"count\":{count}}}\n"));
    }
    let content = format!(
        "<p>You are <b>{user}</b>. The count is <b>{count}</b>.</p>\
         <form method=\"post\" action=\"/increment\"><button>Count</button></form>\
         <form method=\"post\" action=\"/logout\"><button>Log out</button></form>"
    );
    page("Counter", &content)
}

fn user(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-forwarded-user").and_then(|user| user.to_str().ok())
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// `return_to`, where it is a path of this site.
fn way_back(uri: &Uri) -> String {
    let parameters = uri.query().unwrap_or_default().split('&');
    let value = parameters.filter_map(|parameter| parameter.strip_prefix("return_to=")).next().unwrap_or("/");
    let path = percent_decode_str(value).decode_utf8_lossy().into_owned();
    let is_ours = path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/\\");
    if is_ours { path } else { "/".into() }
}

/// A browser goes back to a page, a program gets JSON.
fn done(browser: bool, back: &str, text: &str) -> Answer {
    if !browser {
        return json(StatusCode::OK, text);
    }
    let mut answer = json(StatusCode::SEE_OTHER, "");
    answer.headers_mut().insert(LOCATION, HeaderValue::try_from(back).unwrap_or(HeaderValue::from_static("/")));
    answer
}

fn steer(mut answer: Answer, command: &'static str, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(command, value);
    }
    answer
}

fn json(status: StatusCode, text: &str) -> Answer {
    respond(status, "application/json", text.to_owned())
}

fn page(title: &str, content: &str) -> Answer {
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:1.2rem/1.5 system-ui,sans-serif;max-width:30rem;margin:15vh auto;padding:0 1rem}}\
         form{{display:inline}}button{{font:inherit}}</style><h1>{title}</h1>{content}"
    );
    respond(StatusCode::OK, "text/html; charset=utf-8", text)
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
