//! The monitoring port: what the server is doing, as JSON over HTTP, with nats-server's names.

mod connz;
mod format;
mod healthz;
mod jsz;
mod query;
mod subsz;
mod varz;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use query::Query;

use crate::conf::options::Listen;
use crate::error::{Error, Result};
use crate::limits::{ACCEPT_BACKOFF_MAX, MONITOR_CONNECTIONS, MONITOR_HEAD_TIMEOUT};
use crate::server::{Server, listen};

/// What a page answers.
pub(crate) enum Answer {
    Json(StatusCode, Value),
    /// The same on one line, as nats-server does for `/healthz`.
    Line(StatusCode, Value),
    Text(StatusCode, String),
    Html(String),
}

impl Answer {
    fn bad_request(text: impl Into<String>) -> Self {
        Self::Text(StatusCode::BAD_REQUEST, text.into())
    }
}

/// Opens the monitoring port and serves it until the server stops.
pub(crate) async fn start(server: &Arc<Server>, http: &Listen) -> Result<()> {
    let host = if http.host.is_empty() {
        &server.options.host
    } else {
        &http.host
    };
    let port = http.port;
    let failed = |source| Error::Monitor {
        address: format!("{host}:{port}"),
        source,
    };
    let (listener, address) = listen(host, port).await.map_err(failed)?;
    server.set_monitor_address(address);
    tracing::info!("Starting http monitor on {address}");
    tokio::spawn(accept(Arc::clone(server), listener));
    Ok(())
}

async fn accept(server: Arc<Server>, listener: TcpListener) {
    let mut stopped = server.stopped();
    let places = Arc::new(Semaphore::new(MONITOR_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_BACKOFF_MAX).await;
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| respond(&server, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(MONITOR_HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!("monitoring connection: {error}");
            }
            drop(place);
        });
    }
}

async fn respond(server: &Arc<Server>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let answer = match request.method() {
        &Method::GET | &Method::HEAD => {
            let path = request.uri().path().trim_end_matches('/').to_owned();
            let server = Arc::clone(server);
            // Pages wait for locks, and the details of /jsz for the storage threads.
            let made = tokio::task::spawn_blocking(move || page(&server, &path, &query)).await;
            made.unwrap_or_else(|error| Answer::Text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
        }
        _ => Answer::Text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are served here\n".to_owned(),
        ),
    };
    Ok(render(answer))
}

/// The pages, and the names their requests are counted under.
fn page(server: &Arc<Server>, path: &str, query: &Query) -> Answer {
    let count = |name: &'static str| *server.http_requests.lock().entry(name).or_default() += 1;
    match path {
        "" => {
            count("/");
            Answer::Html(index())
        }
        "/varz" => {
            count("/varz");
            varz::page(server)
        }
        "/connz" => {
            count("/connz");
            connz::page(server, query)
        }
        "/subsz" | "/subscriptionsz" => {
            count("/subsz");
            subsz::page(server, query)
        }
        "/healthz" => {
            count("/healthz");
            healthz::page(server, query)
        }
        "/jsz" => {
            count("/jsz");
            jsz::page(server, query)
        }
        _ => Answer::Text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    }
}

fn render(answer: Answer) -> Response<Full<Bytes>> {
    let (status, kind, body) = match answer {
        Answer::Json(status, value) => (
            status,
            "application/json",
            serde_json::to_string_pretty(&value).unwrap_or_default(),
        ),
        Answer::Line(status, value) => (status, "application/json", value.to_string()),
        Answer::Text(status, text) => (status, "text/plain; charset=utf-8", text),
        Answer::Html(text) => (StatusCode::OK, "text/html; charset=utf-8", text),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if kind == "application/json" {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

fn index() -> String {
    let pages = [
        ("varz", "General"),
        ("jsz", "JetStream"),
        ("connz", "Connections"),
        ("subsz", "Subscriptions"),
        ("healthz", "Health Probe"),
    ];
    let links: String = pages
        .iter()
        .map(|(path, name)| format!("<p><a href=\"./{path}\">{name}</a> /{path}</p>\n"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>weir-server</title></head>\n<body>\n<h1>weir-server {}</h1>\n{links}</body>\n</html>\n",
        crate::WEIR_VERSION
    )
}
