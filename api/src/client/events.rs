//! A node's event stream.

use std::collections::VecDeque;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::Error;
use super::sse::Parser;
use crate::event::Event;

const CALL: &str = "GET /v1/events";

/// What changes on a node, as it happens.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Vec<u8>>,
}

impl EventStream {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self {
            body: response.into_body(),
            parser: Parser::default(),
            ready: VecDeque::new(),
        }
    }

    /// Waits for the next event; `None` when the node has ended the stream. Cancel safe.
    ///
    /// # Errors
    /// The connection broke, or an event is not one that this version knows.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Some(super::request::parse(CALL, &data));
            }
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(error) => {
                    return Some(Err(Error::Broken {
                        call: CALL.to_owned(),
                        source: error.into(),
                    }));
                }
            };
            let Some(bytes) = frame.data_ref() else { continue };
            match self.parser.push(bytes) {
                Ok(events) => self.ready.extend(events),
                Err(error) => {
                    return Some(Err(Error::Protocol {
                        call: CALL.to_owned(),
                        detail: error.to_string(),
                    }));
                }
            }
        }
    }
}
