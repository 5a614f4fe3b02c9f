//! What is known of an end that is a bare socket without asking the system.

use std::{any::Any, io};
use tokio::{io::Interest, net::TcpStream};

/// Whether nothing has come since the last read had to wait; who waits is woken when something does.
pub(super) fn is_quiet<S: 'static>(end: &S) -> bool {
    bare(end).is_some_and(|socket| socket.try_io(Interest::READABLE, || Ok(())).is_err())
}

/// Writes what can be written at once; `None` if it must be waited for, or cannot be told.
pub(super) fn write_now<S: 'static>(end: &S, bytes: &[u8]) -> Option<io::Result<usize>> {
    let written = bare(end)?.try_write(bytes);
    if matches!(&written, Err(error) if error.kind() == io::ErrorKind::WouldBlock) { None } else { Some(written) }
}

fn bare<S: 'static>(end: &S) -> Option<&TcpStream> {
    (end as &dyn Any).downcast_ref()
}
