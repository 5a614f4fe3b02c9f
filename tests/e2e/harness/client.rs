//! A plain HTTP client on raw sockets: one request, one connection, unless a test wants otherwise.

use super::{Connection, Message};
use std::{fmt::Write, net::SocketAddr};

/// A request to be sent; `Host` and `Connection: close` are added unless given.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

pub(crate) fn get(target: &str) -> Request {
    Request::new("GET", target)
}

/// A POST of form fields, maybe none.
pub(crate) fn post(target: &str, form: &str) -> Request {
    Request::new("POST", target).header("Content-Type", "application/x-www-form-urlencoded").body(form)
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers.push((name.into(), value.as_ref().into()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// With this Cookie header.
    pub(crate) fn cookie(self, cookie: impl AsRef<str>) -> Self {
        self.header("Cookie", cookie)
    }

    /// As a browser asks for a page: without Sec-Fetch headers, but wanting HTML.
    pub(crate) fn html(self) -> Self {
        self.header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let Self { method, target, headers, body } = self;
        let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !has("host") {
            write!(head, "Host: {address}\r\n").unwrap();
        }
        if !has("connection") {
            head.push_str("Connection: close\r\n");
        }
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if let Some(body) = body {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        [head.as_bytes(), body.as_deref().unwrap_or_default()].concat()
    }

    /// Sends it and reads the whole answer; `None` if there is none.
    pub(crate) fn try_send(&self, address: SocketAddr) -> Option<Message> {
        let stream = std::net::TcpStream::connect(address).ok()?;
        let mut connection = Connection::new(stream);
        connection.try_write(self.bytes(address));
        connection.response(self.method == "HEAD")
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send(&self, address: SocketAddr) -> Message {
        self.try_send(address).unwrap_or_else(|| panic!("no whole answer to {} {}", self.method, self.target))
    }

    /// Sends it on this connection, which stays open.
    pub(crate) fn send_on(&self, connection: &mut Connection, address: SocketAddr) -> Message {
        let request = self.clone().header("Connection", "keep-alive");
        connection.write(request.bytes(address));
        connection
            .response(self.method == "HEAD")
            .unwrap_or_else(|| panic!("no whole answer to {} {}", self.method, self.target))
    }
}

/// A browser's memory for cookies of one site.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jar(Vec<(String, String)>);

impl Jar {
    /// Sends with the cookies, keeps those of the answer.
    pub(crate) fn send(&mut self, request: Request, address: SocketAddr) -> Message {
        let response = self.with(request).send(address);
        self.keep(&response);
        response
    }

    /// The request with the cookies.
    pub(crate) fn with(&self, request: Request) -> Request {
        if self.0.is_empty() { request } else { request.cookie(self.text()) }
    }

    /// Keeps the cookies of an answer.
    pub(crate) fn keep(&mut self, response: &Message) {
        for line in response.all("set-cookie") {
            let pair = line.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.0.retain(|(known, _)| known != name);
            let lower = line.to_ascii_lowercase();
            if !value.is_empty() && !lower.contains("max-age=0") && !lower.contains("1970") {
                self.0.push((name.into(), value.into()));
            }
        }
    }

    /// The Cookie header's value.
    pub(crate) fn text(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// One cookie's value.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
