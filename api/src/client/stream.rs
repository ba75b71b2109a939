//! Datasets as streams: what `zfs send` writes, and what `zfs receive` reads.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, Method, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};

use super::request::{self, Call, segment};
use super::{Client, Error};
use crate::storage::{Dataset, ReceiveOptions, SendOptions};

/// A snapshot on its way from a node.
#[derive(Debug)]
pub struct DatasetStream {
    call: String,
    body: Incoming,
}

impl DatasetStream {
    /// The next part; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// The node broke the stream off, or the connection did.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_) => continue,
                },
                Err(error) => {
                    return Some(Err(Error::Broken {
                        call: self.call.clone(),
                        source: error.into(),
                    }));
                }
            }
        }
    }

    /// The same as the body of another request.
    pub fn into_parts(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures_util::stream::unfold(self, |mut stream| async {
            let part = stream.next().await?;
            Some((part.map_err(io::Error::other), stream))
        })
    }
}

fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", segment(value.as_deref()?))));
    let given: Vec<_> = given.collect();
    if given.is_empty() {
        String::new()
    } else {
        format!("?{}", given.join("&"))
    }
}

fn flag(is: bool) -> Option<String> {
    is.then(|| "true".to_owned())
}

impl Client {
    /// `GET /v1/snapshots/{name}/stream`: what is in a snapshot, for [`Client::receive_dataset`] here or elsewhere.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send_snapshot(&self, name: &str, options: &SendOptions) -> Result<DatasetStream, Error> {
        let query = query(&[
            ("from", options.from.clone()),
            ("raw", flag(options.raw)),
            ("resume", options.resume.clone()),
        ]);
        let call = Call::new(
            Method::GET,
            format!("/v1/snapshots/{}/stream{query}", segment(name)),
        );
        let name = call.name();
        let response = request::open(self, call).await?;
        Ok(DatasetStream {
            call: name,
            body: response.into_body(),
        })
    }

    /// `POST /v1/datasets/{name}/receive`: makes a dataset of a stream, or brings one up to date. It takes as long as the body.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn receive_dataset(
        &self,
        name: &str,
        options: ReceiveOptions,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Dataset, Error> {
        let query = query(&[
            ("resumable", flag(options.resumable)),
            ("discard_changes", flag(options.discard_changes)),
        ]);
        let path = format!("/v1/datasets/{}/receive{query}", segment(name));
        let mut call = Call::new(Method::POST, path);
        call.headers.push((
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ));
        call.body = StreamBody::new(body.map(|part| part.map(Frame::data))).boxed_unsync();
        let name = call.name();
        let answer = request::upload(self, call).await?;
        request::parse(&name, &answer)
    }

    /// `DELETE /v1/datasets/{name}/receive`: forgets what arrived of a stream that broke off.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn abort_receive(&self, name: &str) -> Result<(), Error> {
        let path = format!("/v1/datasets/{}/receive", segment(name));
        self.done(Call::new(Method::DELETE, path)).await
    }
}
