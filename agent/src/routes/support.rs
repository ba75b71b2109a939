//! `/v1/support`: what helps somebody else to understand a node.

use std::convert::Infallible;
use std::sync::Arc;

use axion_api::recovery::archive::MEDIA_TYPE;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};

use super::Answer;
use crate::app::App;
use crate::support;

/// Where the bundle is; it is audited as if it changed something.
pub const PATH: &str = "/v1/support/bundle";

/// A support bundle: a tar archive with `manifest.json` first, which lists every part and why one is missing. Logs, config, hardware,
/// profile, pools, events, audit, the last crash; what may be secret is hidden. At most 25 MiB, within some ten seconds.
#[utoipa::path(get, path = "/v1/support/bundle", tag = "host",
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar",
        headers(("Content-Disposition" = String, description = "`attachment` with the name that its file should have")))))]
pub async fn bundle(State(app): State<Arc<App>>) -> Answer<([(HeaderName, String); 3], Body)> {
    let bundle = support::bundle(&app).await?;
    let length: usize = bundle.pieces.iter().map(bytes::Bytes::len).sum();
    let headers = [
        (CONTENT_TYPE, MEDIA_TYPE.to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.tar\"", bundle.name),
        ),
    ];
    let pieces = bundle.pieces.into_iter().map(Ok::<_, Infallible>);
    Ok((headers, Body::from_stream(futures_util::stream::iter(pieces))))
}
