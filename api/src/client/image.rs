//! A file to upload, named by its digest.

use std::io::Read;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;

use super::Error;
use super::request::Call;

/// Bytes read at a time.
const CHUNK: usize = 1 << 18;

/// A local file and its digest. The node checks the digest again, so a file that changes in between is refused there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    path: PathBuf,
    digest: String,
    size: u64,
}

impl ImageFile {
    /// Reads the whole file once for its digest.
    ///
    /// # Errors
    /// [`Error::File`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let failed = |source| Error::File {
            path: path.clone(),
            source,
        };
        let file = path.clone();
        let (digest, size) = match tokio::task::spawn_blocking(move || digest(&file)).await {
            Ok(result) => result.map_err(failed)?,
            Err(error) => return Err(failed(error.into())),
        };
        Ok(Self { path, digest, size })
    }

    /// `sha256:` and 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `call` with the file as its body.
    pub(super) async fn attach(
        &self,
        mut call: Call,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Call, Error> {
        let file = tokio::fs::File::open(&self.path)
            .await
            .map_err(|source| Error::File {
                path: self.path.clone(),
                source,
            })?;
        let frames = ReaderStream::with_capacity(file, CHUNK).map(move |part| {
            let part = part?;
            progress(part.len() as u64);
            Ok(Frame::data(part))
        });
        call.headers.push((
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ));
        call.headers
            .push((header::CONTENT_LENGTH, HeaderValue::from(self.size)));
        call.body = StreamBody::new(frames).boxed_unsync();
        Ok(call)
    }
}

fn digest(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = std::fs::File::open(path)?;
    let mut sha = Sha256::new();
    let mut size = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        sha.update(part);
        size += part.len() as u64;
    }
    Ok((format!("sha256:{}", hex::encode(sha.finalize())), size))
}
