//! Every answer is its own question's, whoever leaves, however slow the link is, and wherever it breaks.

use super::*;
use crate::{
    clock,
    redis::{Failure, Redis, Shape, server::Server},
    tasks::{Worker, Workers},
    telemetry::metrics::Metrics,
};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::{JoinSet, yield_now},
};

const W: Worker = Worker(0);
const QUESTIONS: usize = 10_000;
const KEYS: usize = 200;
/// No time limit is tested where this is one: a busy machine may take its time.
const LONG: Duration = Duration::from_secs(60);

/// A way to a server that can be slow, and break.
struct Way {
    path: PathBuf,
    broken: Arc<AtomicUsize>,
}

impl Drop for Way {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Way {
    /// Answers come in pieces with pauses between them; after `bytes_max` of them the connection breaks.
    fn to(server: &store::Redis, bytes_max: usize) -> (Self, store::Redis) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("onedoor-way-{}-{number}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let store::Address::Unix(behind) = server.address.clone() else { panic!("the server has a socket") };
        let broken = Arc::new(AtomicUsize::new(0));
        let breaks = broken.clone();
        tasks::background(async move {
            while let Ok((here, _)) = listener.accept().await {
                let (there, breaks) = (UnixStream::connect(&behind).await, breaks.clone());
                let Ok(there) = there else { continue };
                tasks::background(async move {
                    pass(here, there, bytes_max).await;
                    breaks.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let address = store::Address::Unix(path.clone());
        (Self { path, broken }, store::Redis { address, ..server.clone() })
    }
}

async fn pass(here: UnixStream, there: UnixStream, bytes_max: usize) {
    let (mut from_here, mut to_here) = here.into_split();
    let (mut from_there, mut to_there) = there.into_split();
    let answers = async {
        let (mut piece, mut passed) = ([0; 1500], 0);
        while passed < bytes_max {
            // Odd lengths, so that every place of an answer is the end of a piece now and then.
            let length = (passed * 31 % 1499 + 1).min(bytes_max - passed);
            match from_there.read(&mut piece[..length]).await {
                Ok(read @ 1..) if to_here.write_all(&piece[..read]).await.is_ok() => passed += read,
                _ => return,
            }
            time::sleep(Duration::from_micros(500)).await;
        }
    };
    tokio::select! {
        () = answers => {}
        _ = tokio::io::copy(&mut from_here, &mut to_there) => {}
    }
}

fn open(server: &store::Redis, timeout: Duration) -> Arc<Redis> {
    Arc::new(Redis::open(server, Trust::Blind, None, timeout, &Workers::current(), &Metrics::new(1)))
}

async fn fill(redis: &Redis) {
    for number in 0..KEYS {
        let key = format!("id:{number}");
        redis.create(W, &key, key.clone().into(), LONG).await.unwrap();
    }
}

/// Asks for an id; `true` = it was answered, `false` = whoever asked has left.
async fn ask(redis: &Redis, number: usize) -> bool {
    let (key, beside) = (format!("id:{}", number * 7919 % KEYS), format!("id:{}", number % KEYS));
    let question = redis.read_whole(W, &key, Shape::Text, [None, Some(&beside)], 100);
    let leaves = async {
        match number % 3 {
            // It waits to the end.
            0 => std::future::pending().await,
            // It leaves before anything was sent, or at some time afterwards.
            1 => yield_now().await,
            _ => time::sleep(Duration::from_micros((number * 104_729 % 50_000) as u64)).await,
        }
    };
    tokio::select! {
        biased;
        answer = question => {
            let (value, remaining, [none, other]) = answer.unwrap();
            assert_eq!((&value[..], &none.unwrap()[..], &other.unwrap()[..]), (key.as_bytes(), &b""[..], beside.as_bytes()));
            assert!(remaining.is_some_and(|left| left <= LONG));
            true
        }
        () = leaves => false,
    }
}

async fn ask_all(redis: &Arc<Redis>) {
    let mut questions = JoinSet::new();
    for number in 0..QUESTIONS {
        let redis = redis.clone();
        questions.spawn(async move { ask(&redis, number).await });
    }
    let answered = questions.join_all().await.into_iter().filter(|answered| *answered).count();
    assert!(answered >= QUESTIONS / 3, "{answered} answered");
    assert!(answered <= QUESTIONS * 2 / 3 + 1, "{answered} answered: nobody left");
}

#[tokio::test]
async fn ten_thousand_questions_at_once_over_a_slow_link_each_get_their_own_answer_whoever_leaves() {
    let server = Server::start(&[]);
    fill(&open(&server.config(), LONG)).await;
    let (_way, config) = Way::to(&server.config(), usize::MAX);
    ask_all(&open(&config, LONG)).await;
}

#[tokio::test]
async fn a_link_that_breaks_in_the_middle_of_an_answer_mixes_up_none() {
    let server = Server::start(&[]);
    fill(&open(&server.config(), LONG)).await;
    let (way, config) = Way::to(&server.config(), 15_001);
    ask_all(&open(&config, LONG)).await;
    assert!(way.broken.load(Ordering::Relaxed) > 2);
}

#[tokio::test]
async fn what_a_hung_server_says_too_late_is_nobodys_answer() {
    let server = Server::start(&[]);
    let redis = open(&server.config(), Duration::from_millis(300));
    let begun = clock::now();
    for key in ["early", "late"] {
        while redis.write(W, key, key.into(), LONG).await.is_err() {
            assert!(begun.elapsed() < LONG);
        }
    }
    for _ in 0..3 {
        server.pause();
        let answers = tokio::join!(redis.read(W, "early", 9), redis.read(W, "early", 9));
        assert!(matches!(answers, (Err(Failure::Outage(_)), Err(Failure::Outage(_)))), "{answers:?}");
        server.resume();
        loop {
            match redis.read(W, "late", 9).await {
                Ok(answer) => break assert_eq!(answer, "late"),
                Err(_) => assert!(begun.elapsed() < LONG),
            }
        }
    }
}

#[tokio::test]
async fn more_questions_than_may_wait_fail_at_once() {
    let server = Server::start(&[]);
    let redis = open(&server.config(), LONG);
    while redis.degraded() {
        time::sleep(Duration::from_millis(10)).await;
    }
    server.pause();
    let mut questions = JoinSet::new();
    for _ in 0..20_000 {
        let redis = redis.clone();
        questions.spawn(async move { redis.read(W, "k", 9).await });
    }
    let first = questions.join_next().await.unwrap().unwrap();
    assert!(matches!(first, Err(Failure::Outage(_))), "{first:?}");
    server.resume();
    let answered = questions.join_all().await.into_iter().filter(Result::is_ok).count();
    assert_eq!(answered, 16 * 1024);
}
