//! The body of an answer: bytes that are there, or those that git is still writing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

pub(super) enum Body {
    Full(Option<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// Ends the connection early.
    pub(super) fn broken() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let _ = sender.try_send(Err(io::Error::other("the answer is lost on purpose")));
        Self::Stream(receiver)
    }

    /// Waits for the end.
    pub(super) async fn drain(self) {
        if let Self::Stream(mut receiver) = self {
            while receiver.recv().await.is_some() {}
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(receiver) => receiver
                .poll_recv(context)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }
}
