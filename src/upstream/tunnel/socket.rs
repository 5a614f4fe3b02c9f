//! What can be done at once with an end that is a bare socket, and what is known of it without asking the system.

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use std::{any::Any, io, mem::MaybeUninit};
use tokio::{io::Interest, net::TcpStream};

/// Whether nothing has come since the last read had to wait; who waits is woken when something does.
pub(super) fn is_quiet<S: 'static>(end: &S) -> bool {
    bare(end).is_some_and(|socket| socket.try_io(Interest::READABLE, || Ok(())).is_err())
}

/// What has come; `None` if it must be waited for, or cannot be told.
pub(super) fn read_now<'r, S: 'static>(end: &S, room: &'r mut [MaybeUninit<u8>]) -> Option<io::Result<&'r [u8]>> {
    let socket = bare(end)?;
    let (most, mut read) = (room.len(), None);
    // Whoever gets less than there is room for has got all, and need not be told so by another read.
    let _ = socket.try_io(Interest::READABLE, || match recv(socket, room, RecvFlags::empty()) {
        Ok(((came, _), _)) => {
            let is_all = !came.is_empty() && came.len() < most;
            read = Some(Ok(&*came));
            if is_all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }
        Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => {
            read = Some(Err(error.into()));
            Ok(())
        }
    });
    read
}

/// Writes what can be written at once; `None` if that must be waited for, or cannot be told.
pub(super) fn write_now<S: 'static>(end: &S, bytes: &[u8]) -> Option<io::Result<usize>> {
    let socket = bare(end)?;
    let written = socket.try_io(Interest::WRITABLE, || Ok(send(socket, bytes, SendFlags::NOSIGNAL)?));
    if matches!(&written, Err(error) if error.kind() == io::ErrorKind::WouldBlock) { None } else { Some(written) }
}

fn bare<S: 'static>(end: &S) -> Option<&TcpStream> {
    (end as &dyn Any).downcast_ref()
}
