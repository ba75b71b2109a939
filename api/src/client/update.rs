//! Updates of an installed node.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::request::{self, Call};
use super::{Client, Error};
use crate::update::{
    LARGEST_SIGNATURE, MirrorPlan, MirrorRequest, SIGNATURE_HEADER, SIGNATURE_SUFFIX, StageRequest,
    UpdateStatus,
};

/// Bytes read at a time.
const CHUNK: usize = 1 << 18;

/// An image in a local file, with its signature in the file beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFile {
    path: PathBuf,
    signature: String,
    size: u64,
}

impl UpdateFile {
    /// Looks for the image at `path` and its signature at the same path with `.minisig` behind it, unless `signature` is another.
    ///
    /// # Errors
    /// [`Error::File`].
    pub async fn open(path: impl Into<PathBuf>, signature: Option<&Path>) -> Result<Self, Error> {
        let path = path.into();
        let metadata = tokio::fs::metadata(&path).await;
        let size = metadata.map_err(failed(&path))?.len();
        let beside = || {
            let mut name = path.clone().into_os_string();
            name.push(SIGNATURE_SUFFIX);
            PathBuf::from(name)
        };
        let from = signature.map_or_else(beside, Path::to_path_buf);
        let file = tokio::fs::File::open(&from).await.map_err(failed(&from))?;
        let mut text = String::new();
        let longest = LARGEST_SIGNATURE as u64;
        let read = file.take(longest).read_to_string(&mut text).await;
        read.map_err(failed(&from))?;
        Ok(Self {
            path,
            signature: text,
            size,
        })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

/// # Errors
/// Every call: see [`Error`].
impl Client {
    /// `GET /v1/update`.
    pub async fn update(&self) -> Result<UpdateStatus, Error> {
        self.get("/v1/update").await
    }

    /// `POST /v1/update/stage` with an image from here; `progress` is told of bytes that were sent.
    pub async fn stage_update(
        &self,
        image: &UpdateFile,
        allow_downgrade: bool,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<UpdateStatus, Error> {
        let file = tokio::fs::File::open(&image.path).await;
        let file = file.map_err(failed(&image.path))?;
        let frames = ReaderStream::with_capacity(file, CHUNK).map(move |part| {
            let part = part?;
            progress(part.len() as u64);
            Ok(Frame::data(part))
        });
        let query = if allow_downgrade {
            "?allow_downgrade=true"
        } else {
            ""
        };
        let mut call = Call::new(Method::POST, format!("/v1/update/stage{query}"));
        let name = call.name();
        // Base64 is what a header may hold.
        let signature = HeaderValue::try_from(STANDARD.encode(&image.signature));
        if let Ok(signature) = signature {
            call.headers
                .push((HeaderName::from_static(SIGNATURE_HEADER), signature));
        }
        let octets = HeaderValue::from_static("application/octet-stream");
        call.headers.push((header::CONTENT_TYPE, octets));
        call.headers
            .push((header::CONTENT_LENGTH, HeaderValue::from(image.size)));
        call.body = StreamBody::new(frames).boxed_unsync();
        request::parse(&name, &request::upload(self, call).await?)
    }

    /// `POST /v1/update/stage` with an image that the node fetches by itself. It takes as long as the node's line is slow.
    pub async fn fetch_update(&self, request: &StageRequest) -> Result<UpdateStatus, Error> {
        let call = Call::new(Method::POST, "/v1/update/stage").json(request);
        let name = call.name();
        request::parse(&name, &request::upload(self, call).await?)
    }

    /// `POST /v1/update/rollback`.
    pub async fn roll_back_update(&self) -> Result<UpdateStatus, Error> {
        self.json(Call::new(Method::POST, "/v1/update/rollback")).await
    }

    /// `POST /v1/update/mirror/plan`.
    pub async fn plan_mirror(&self, request: &MirrorRequest) -> Result<MirrorPlan, Error> {
        let call = Call::new(Method::POST, "/v1/update/mirror/plan").json(request);
        self.json(call).await
    }

    /// `POST /v1/update/mirror`. It takes as long as the images take to be written.
    pub async fn add_mirror(&self, request: &MirrorRequest) -> Result<UpdateStatus, Error> {
        self.json(Call::new(Method::POST, "/v1/update/mirror").json(request))
            .await
    }

    /// `DELETE /v1/update/mirror`.
    pub async fn forget_mirror(&self) -> Result<UpdateStatus, Error> {
        self.json(Call::new(Method::DELETE, "/v1/update/mirror")).await
    }
}
