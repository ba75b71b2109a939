//! `/v1/events`: what changes, as server-sent events (WHATWG HTML §9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axion_api::event::Event;
use axion_api::problem::{Kind, Problem};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{self, KeepAlive};
use futures_util::{Stream, StreamExt, stream};

use super::Answer;
use crate::app::App;

/// Between two signs of life while nothing changes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events as they happen; with `Last-Event-ID` also those since then that are still known.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<u64>, Header, description = "Sequence number of the last event seen")),
    responses((status = 200, body = Event, content_type = "text/event-stream",
        description = "`id:` is the sequence number, `event:` the kind, `data:` the event as JSON")))]
pub async fn stream(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>> {
    let last = match headers.get("last-event-id") {
        None => None,
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Problem::new(Kind::Malformed, "Last-Event-ID takes the number of an event"))?,
        ),
    };
    let cursor = app.events.subscribe(last);
    let closing = app.closing.clone().cancelled_owned();
    let events = stream::unfold((app, cursor), async |(app, mut cursor)| {
        let event = app.events.next(&mut cursor).await?;
        Some((Ok(frame(&event)), (app, cursor)))
    });
    Ok(Sse::new(events.take_until(closing)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn frame(event: &Event) -> sse::Event {
    let value = serde_json::to_value(event).unwrap_or_default();
    let kind = value
        .get("kind")
        .and_then(|kind| kind.as_str())
        .unwrap_or_default();
    sse::Event::default()
        .id(event.sequence.to_string())
        .event(kind)
        .data(value.to_string())
}
