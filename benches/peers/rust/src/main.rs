//! A pixel gateway with axum and rdkafka. An event is in memory only until Kafka has it.

mod event;
mod query;
mod tree;

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, EXPIRES, HeaderName, HeaderValue, PRAGMA,
};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\
!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

struct Failures;

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("lost an event: {error}");
        }
    }
}

struct Gateway {
    producer: ThreadedProducer<Failures>,
    topic: String,
}

async fn pixel(
    State(gateway): State<Arc<Gateway>>,
    Path(kind): Path<String>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> impl IntoResponse {
    match query::build(&kind, request.uri().query().unwrap_or_default(), client, request.headers()) {
        Ok((key, event)) => {
            let mut record = BaseRecord::<str, [u8]>::to(&gateway.topic).payload(&event);
            record.key = key.as_deref();
            if let Err((error, _)) = gateway.producer.send(record) {
                eprintln!("lost an event: {error}");
            }
        }
        Err(reason) => eprintln!("rejected: {reason}"),
    }
    (gif_headers(), GIF)
}

fn gif_headers() -> [(HeaderName, HeaderValue); 6] {
    [
        (CONTENT_TYPE, HeaderValue::from_static("image/gif")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache, must-revalidate")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
        (EXPIRES, HeaderValue::from_static("0")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ]
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", env::var("BOOTSTRAP")?)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("compression.type", "none")
        .set("delivery.report.only.error", "true")
        .create_with_context(Failures)?;
    let gateway = Arc::new(Gateway { producer, topic: env::var("TOPIC")? });
    let app = Router::new().route("/v1/pixel/{type}", get(pixel)).with_state(Arc::clone(&gateway));
    let listener = TcpListener::bind(("127.0.0.1", env::var("PORT")?.parse()?)).await?.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            eprintln!("{error}");
        }
    });
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;
    gateway.producer.flush(Duration::from_secs(10))?;
    Ok(())
}
