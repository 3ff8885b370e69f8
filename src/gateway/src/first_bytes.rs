//! How long a new connection may leave open which HTTP it speaks: the clock of a request's head starts only once that is
//! known, and a connection that says nothing would be kept for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How HTTP/2 begins. What begins otherwise is HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose reads fail once `patience` is over before it is known which HTTP it speaks.
pub(crate) struct FirstBytes<S> {
    stream: S,
    /// Until it is known; and how much of the preface has come.
    clock: Option<Pin<Box<Sleep>>>,
    matched: usize,
}

impl<S> FirstBytes<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        FirstBytes { stream, clock: Some(Box::pin(tokio::time::sleep(patience))), matched: 0 }
    }

    fn came(&mut self, bytes: &[u8]) {
        let wanted = &PREFACE[self.matched..];
        let same = wanted.iter().zip(bytes).take_while(|(wanted, byte)| wanted == byte).count();
        self.matched += same;
        if same < bytes.len() || self.matched == PREFACE.len() {
            self.clock = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(clock) = &mut self.clock else { return read };
        match read {
            Poll::Ready(Ok(())) => {
                self.came(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                ready!(clock.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time")))
            }
            failed => failed,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
