//! A client that speaks HTTP/2, by hyper: one request, one connection.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, net::SocketAddr};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 if there was no head.
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    /// The body and its trailers, or how it broke off.
    pub(crate) body: Result<(Bytes, Option<http::HeaderMap>), String>,
}

impl Answer {
    /// A field of the head.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A trailer.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        let (_, trailers) = self.body.as_ref().unwrap();
        trailers.as_ref()?.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a POST with these fields, this body and these trailers, over HTTP/2 without TLS.
pub(crate) fn post_http2(
    address: SocketAddr,
    path: &str,
    fields: &[(&str, &str)],
    body: &'static [u8],
    trailers: &[(&'static str, &'static str)],
) -> Answer {
    let mut request = http::Request::post(format!("http://site.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let trailers: http::HeaderMap =
        trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let trailers = std::future::ready((!trailers.is_empty()).then_some(Ok::<_, Infallible>(trailers)));
    let request = request.body(Full::new(Bytes::from_static(body)).with_trailers(trailers)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        let (head, body) = match sender.send_request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) => return Answer { status: 0, headers: http::HeaderMap::new(), body: Err(error.to_string()) },
        };
        let body = body.collect().await.map_err(|error| error.to_string());
        let body =
            body.map(|body| (body.trailers().cloned(), body.to_bytes())).map(|(trailers, body)| (body, trailers));
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    })
}
