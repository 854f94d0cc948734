//! Closes idle connections, so that clients that are gone or silent hold no resources. A connection on which a request is being answered is
//! not idle, unless its client does not take what is written.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// A listener whose connections fail once they have been idle for too long.
pub(super) struct IdleListener {
    listener: TcpListener,
    idle: Duration,
}

impl IdleListener {
    /// Wraps a listener. `idle` is how long a connection may be without traffic.
    pub(super) fn new(listener: TcpListener, idle: Duration) -> IdleListener {
        IdleListener { listener, idle }
    }
}

impl Listener for IdleListener {
    type Io = IdleStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (IdleStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let ends = Box::pin(tokio::time::sleep(self.idle));
        (IdleStream { stream, idle: self.idle, ends, requests: Arc::default(), stalled: None }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A client's connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Peer {
    /// Keeps the connection from counting as idle for as long as the guard lives.
    pub(super) fn busy(&self) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.requests))
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, IdleListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, IdleListener>) -> Peer {
        Peer { address: *stream.remote_addr(), requests: Arc::clone(&stream.io().requests) }
    }
}

/// A connection with an idle timeout.
pub(super) struct IdleStream {
    stream: TcpStream,
    idle: Duration,
    ends: Pin<Box<Sleep>>,
    /// The number of requests that are being answered.
    requests: Arc<AtomicUsize>,
    /// Since when the client has not taken what is written.
    stalled: Option<Instant>,
}

impl IdleStream {
    fn restart(&mut self) {
        let ends = Instant::now() + self.idle;
        self.ends.as_mut().reset(ends);
    }

    /// Passes on a result of the stream and restarts the idle timer. While the stream is pending, fails once the timer has run out.
    /// While a request is answered, only a write that has been pending for as long counts.
    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.restart();
            return polled;
        }
        while self.ends.as_mut().poll(cx).is_ready() {
            let busy = self.requests.load(Ordering::Relaxed) > 0;
            if !busy || self.stalled.is_some_and(|since| since.elapsed() >= self.idle) {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the connection was idle for too long");
                return Poll::Ready(Err(error));
            }
            self.restart();
        }
        Poll::Pending
    }

    /// Does the same for a write.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.stalled = match polled {
            Poll::Ready(_) => None,
            Poll::Pending => self.stalled.or_else(|| Some(Instant::now())),
        };
        self.watch(cx, polled)
    }
}

impl AsyncRead for IdleStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch(cx, polled)
    }
}

impl AsyncWrite for IdleStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
