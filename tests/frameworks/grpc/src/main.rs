//! A gRPC service by tonic, and the client that calls it in every way: `grpc-app` serves on PORT, `grpc-app URL` calls.

use bytes::{Buf, BufMut};
use std::{convert::Infallible, env, pin::Pin, process, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::{Stream, StreamExt, iter, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Body, BoxFuture, Service, StdError, http},
    server::NamedService,
    transport::{Channel, Server},
};

/// Messages are bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

/// One method of the service; on the wire all kinds of calls are streams.
struct Method(String);

impl Service<Request<Streaming<Vec<u8>>>> for Method {
    type Response = Response<Messages>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        let name = self.0.clone();
        Box::pin(async move { answer(&name, request).await.map(Response::new) })
    }
}

async fn answer(name: &str, request: Request<Streaming<Vec<u8>>>) -> Result<Messages, Status> {
    let user = request.metadata().get("x-forwarded-user").is_some();
    let mut messages = request.into_inner();
    Ok(match name {
        "Echo" => {
            let message = messages.message().await?.unwrap_or_default();
            Box::pin(iter([Ok(if user { b"who is this?".to_vec() } else { message })]))
        }
        "Sum" => {
            let (mut count, mut bytes) = (0, 0);
            while let Some(message) = messages.message().await? {
                (count, bytes) = (count + 1, bytes + message.len());
            }
            Box::pin(iter([Ok(format!("{count} messages, {bytes} bytes").into_bytes())]))
        }
        "Count" => Box::pin(iter(0..1000).map(|n| Ok(format!("{n}").into_bytes()))),
        "Chat" => Box::pin(messages),
        "Fail" => Box::pin(iter([Ok(b"one".to_vec()), Err(Status::data_loss("the rest is gone"))])),
        "Die" => {
            let last = async {
                sleep(Duration::from_millis(200)).await;
                process::exit(9)
            };
            let (sender, receiver) = mpsc::channel(1);
            let _ = sender.send(Ok(b"one".to_vec())).await;
            tokio::spawn(async move {
                last.await;
                drop(sender);
            });
            Box::pin(ReceiverStream::new(receiver))
        }
        "Slow" => {
            sleep(Duration::from_secs(600)).await;
            Box::pin(iter([]))
        }
        "Refuse" => {
            let mut status = Status::not_found("not here: 100 % sure");
            status.metadata_mut().insert("my-own", "kept".parse().expect("a value"));
            return Err(status);
        }
        _ => return Err(Status::unimplemented("no such method")),
    })
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

impl<B> Service<http::Request<B>> for Echo
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).streaming(Method(name), request).await) })
    }
}

struct Client(tonic::client::Grpc<Channel>);

impl Client {
    async fn call(
        &mut self,
        path: &'static str,
        messages: impl Stream<Item = Vec<u8>> + Send + 'static,
    ) -> Result<Streaming<Vec<u8>>, Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(path);
        Ok(self.0.streaming(Request::new(messages), path, Raw).await?.into_inner())
    }

    /// All messages of an answer, and how it ended.
    async fn whole(&mut self, path: &'static str, messages: Vec<Vec<u8>>) -> (Vec<String>, Result<(), Status>) {
        let mut all = Vec::new();
        let mut answer = match self.call(path, iter(messages)).await {
            Ok(answer) => answer,
            Err(status) => return (all, Err(status)),
        };
        loop {
            match answer.message().await {
                Ok(Some(message)) => all.push(String::from_utf8_lossy(&message).into_owned()),
                Ok(None) => return (all, Ok(())),
                Err(status) => return (all, Err(status)),
            }
        }
    }

    async fn chat(&mut self) -> Result<usize, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let first = b"0".to_vec();
        sender.send(first).await.map_err(|_| Status::unknown("gone"))?;
        let mut answer = self.call("/echo.Echo/Chat", ReceiverStream::new(receiver)).await?;
        for turn in 1..100 {
            // The next is said only when the one before was heard.
            let heard = answer.message().await?.unwrap_or_default();
            if heard != format!("{}", turn - 1).into_bytes() {
                return Err(Status::unknown(format!("{turn}: {heard:?}")));
            }
            sender.send(format!("{turn}").into_bytes()).await.map_err(|_| Status::unknown("gone"))?;
        }
        drop(sender);
        let mut left = 0;
        while answer.message().await?.is_some() {
            left += 1;
        }
        Ok(left)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Some(url) = env::args().nth(1) {
        return call(url).await;
    }
    let port: u16 = env::var("PORT").expect("PORT is set").parse().expect("PORT is a number");
    Server::builder().add_service(Echo).serve(([127, 0, 0, 1], port).into()).await.expect("the port is free");
}

async fn call(url: String) {
    let channel = Channel::from_shared(url).expect("a URL").connect().await.expect("somebody listens");
    let mut client = Client(tonic::client::Grpc::new(channel));
    let show = |name: &str, (messages, end): (Vec<String>, Result<(), Status>)| {
        let end = match &end {
            Ok(()) => "OK".to_owned(),
            Err(status) => {
                let own = status.metadata().get("my-own").map_or("", |own| own.to_str().unwrap_or("?"));
                format!("{:?} {own}", status.code())
            }
        };
        let shown = if messages.len() > 3 { vec![messages.len().to_string()] } else { messages };
        println!("{name}: {} {end}", shown.join(" "));
    };
    show("unary", client.whole("/echo.Echo/Echo", vec![b"hello".to_vec()]).await);
    show("large", {
        let (messages, end) = client.whole("/echo.Echo/Echo", vec![vec![b'x'; 2_000_000]]).await;
        (messages.iter().map(|message| message.len().to_string()).collect(), end)
    });
    show("client", client.whole("/echo.Echo/Sum", vec![vec![7; 1000]; 500]).await);
    show("server", client.whole("/echo.Echo/Count", Vec::new()).await);
    println!("both: {:?}", client.chat().await.map_err(|status| status.code()));
    show("refused", client.whole("/echo.Echo/Refuse", vec![Vec::new()]).await);
    show("failed", client.whole("/echo.Echo/Fail", Vec::new()).await);
    show("closed", client.whole("/closed.Echo/Echo", vec![b"hello".to_vec()]).await);
    show("nowhere", client.whole("/nowhere.Echo/Echo", vec![b"hello".to_vec()]).await);
    show("slow", client.whole("/echo.Echo/Slow", Vec::new()).await);
    show("died", client.whole("/echo.Echo/Die", Vec::new()).await);
}
