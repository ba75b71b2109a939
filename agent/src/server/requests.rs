//! Requests of an HTTP/2 connection that are being answered, and when there was none for so long that the connection is idle.
//!
//! hyper asks whether a client is there, and closes nothing that answers: a client that wants nothing would keep its place for ever.
//! A request counts until its handler has answered. The body of an answer counts as well where the guard knows who asked: events
//! and streams take as long as they take. What a stranger is told is short, and a stranger may not hold it by not reading it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::auth::Identity;

/// Requests of a connection.
#[derive(Clone, Default)]
pub struct Requests(Arc<watch::Sender<usize>>);

/// A request that is being answered.
pub struct Request(Requests);

impl Requests {
    /// One more.
    pub fn begin(&self) -> Request {
        self.0.send_modify(|open| *open += 1);
        Request(self.clone())
    }

    /// Waits until there has been no request for as long as `limit`.
    pub async fn idle(&self, limit: Duration) {
        let mut open = self.0.subscribe();
        // The sender is here: neither of the two fails.
        while open.wait_for(|open| *open == 0).await.is_ok() {
            if !matches!(timeout(limit, open.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

impl Request {
    /// The answer, of which the body still belongs to the request of somebody who is known.
    pub fn answered(self, response: Response) -> Response<Answer> {
        let request = response.extensions().get::<Identity>().is_some().then_some(self);
        response.map(|body| Answer {
            body,
            _request: request,
        })
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

/// A body of an answer.
pub struct Answer {
    body: Body,
    _request: Option<Request>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
