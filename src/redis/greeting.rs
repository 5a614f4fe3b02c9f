//! How a connection asks to be told of changes, and what the server's words for them mean.

use super::{
    Failure, Outline,
    listener::{Change, Hearing},
    wire::{Head, Wire},
};
use crate::config::store;
use std::{future::Future, io, time::Duration};
use tokio::time;

/// How long connecting and each step of the greeting may take.
const GREETING: Duration = Duration::from_secs(1);
/// What `notify-keyspace-events` must name: by key; generic, text, hash; expired, evicted.
pub(super) const FLAGS: &str = "Kg$hxe";
/// The flags that `A` stands for.
const ALL: &str = "g$lshzxetd";

/// Why listening ended; the text is for the log.
pub(super) struct Fault(pub(super) String);

/// Introduces a connection and asks for what happens to what is to be heard, and to the beat.
pub(super) async fn greet(
    wire: &mut Wire,
    server: &store::Redis,
    beat: &str,
    hearing: &Hearing,
    by_events: bool,
) -> Result<(), Fault> {
    let user = server.user.as_deref().unwrap_or("default");
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &server.password {
        hello.extend([b"AUTH" as &[u8], user.as_bytes(), password.expose().as_bytes()]);
    }
    hello.extend([b"SETNAME" as &[u8], b"onedoor-listener"]);
    request(wire, &hello, ("HELLO 3", "Redis 6.2 or Valkey")).await?;

    let mut tracked = vec![beat];
    if !by_events {
        tracked.extend(hearing.prefixes.iter().map(String::as_str));
    }
    let mut tracking: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON", b"BCAST"];
    for prefix in without_overlaps(&tracked) {
        tracking.extend([b"PREFIX" as &[u8], prefix.as_bytes()]);
    }
    request(wire, &tracking, ("CLIENT TRACKING", "+client|tracking")).await?;
    if by_events {
        let prefixes: Vec<_> = hearing.prefixes.iter().map(String::as_str).chain([beat]).collect();
        let below = without_overlaps(&prefixes).into_iter().map(|prefix| format!("{}*", escaped(prefix)));
        let patterns = below.chain(hearing.outlines.iter().map(Outline::pattern));
        let patterns: Vec<_> = patterns.map(|keys| format!("__keyspace@{}__:{keys}", server.database)).collect();
        let mut subscribe: Vec<&[u8]> = vec![b"PSUBSCRIBE"];
        subscribe.extend(patterns.iter().map(String::as_bytes));
        request(wire, &subscribe, ("PSUBSCRIBE", "+psubscribe allchannels")).await?;
    }
    Ok(())
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self(format!("the connection that hears of changes: {error}"))
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Outage(cause) | Failure::Astray { cause, .. } => Self(cause),
            Failure::WrongType => Self("a key of our own holds something else than a string".to_owned()),
        }
    }
}

pub(super) async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> Result<T, Fault> {
    match time::timeout(GREETING, step).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Fault("the connection that hears of changes: no answer in time".to_owned())),
    }
}

/// Sends a command, which has a name and a need, and waits for its answer, whatever the server pushes meanwhile.
async fn request(wire: &mut Wire, command: &[&[u8]], (name, need): (&str, &str)) -> Result<(), Fault> {
    let subscribes = command[0] == b"PSUBSCRIBE";
    let mut answers = if subscribes { command.len() - 1 } else { 1 };
    let refusal = in_time(async {
        wire.send(command).await?;
        while answers > 0 {
            match wire.head().await? {
                Head::Push(parts) => {
                    let confirms = parts > 0 && wire.text().await? == b"psubscribe" && subscribes;
                    answers -= usize::from(confirms);
                    wire.skip(parts.saturating_sub(1)).await?;
                }
                Head::Refusal(code) => return Ok(Some(code)),
                Head::Many(values) => {
                    wire.skip(values).await?;
                    answers -= 1;
                }
                _ => answers -= 1,
            }
        }
        Ok(None)
    });
    match refusal.await? {
        Some(code) if ["ERR", "NOPERM", "NOPROTO"].contains(&code.as_str()) => {
            Err(Fault(format!("Redis answers {code} to {name}, which needs {need}")))
        }
        Some(code) => Err(Fault(format!("Redis answers {code} to {name}"))),
        None => Ok(()),
    }
}

/// What the event of this name did to its key.
pub(super) fn change(event: &[u8]) -> Change {
    match event {
        b"del" => Change::Deleted,
        b"expired" => Change::Expired,
        b"evicted" => Change::Evicted,
        b"rename_from" | b"move_from" => Change::MovedAway,
        b"expire" | b"persist" => Change::Renewed,
        _ => Change::Written,
    }
}

/// The flags of [`FLAGS`] that are not among `flags`.
pub(super) fn lacking(flags: &str) -> String {
    let on = |flag: char| flags.contains(flag) || (flags.contains('A') && ALL.contains(flag));
    FLAGS.chars().filter(|flag| !on(*flag)).collect()
}

/// The prefixes but those that another one covers: Redis takes no others.
fn without_overlaps<'p>(prefixes: &[&'p str]) -> Vec<&'p str> {
    let mut shortest = prefixes.to_vec();
    shortest.sort_unstable();
    // In this order the prefixes of a text come before it, and nothing else comes between.
    shortest.dedup_by(|longer, shorter| longer.starts_with(*shorter));
    shortest
}

/// A text as a pattern that matches it alone.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}
