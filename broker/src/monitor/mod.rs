//! The monitoring port: what the server is doing, as JSON over HTTP, with nats-server's names.

mod asked;
mod connections;
mod escaped;
mod place;
mod profile;
mod query;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use connections::{Activity, Connections, ListPlace};
use escaped::Escaped;
use place::Place;
pub use query::Query;

use crate::conf::options::{Listen, base_path};
use crate::context::{Context, Tls, listen};
use crate::error::{Error, Result};
use crate::limits::{ACCEPT_BACKOFF_MAX, METRICS_SERIES, MONITOR_LISTS, MONITOR_PAGES, MONITOR_QUIET, MONITOR_SWEEP};
use crate::report::Reports;
use crate::version::WEIR_VERSION;

/// What a page answers.
pub(crate) enum Answer {
    Json(StatusCode, Value),
    /// JSON on one line, as nats-server writes it for `/healthz`.
    Line(StatusCode, String),
    Text(StatusCode, String),
    /// The text format of Prometheus.
    Metrics(String),
    Html(String),
    /// The page is at this path.
    Elsewhere(String),
}

impl Answer {
    /// A report, its fields sorted by their names.
    fn page(report: &impl Serialize) -> Self {
        // Structs of plain fields under names: that has no failure.
        Self::Json(StatusCode::OK, serde_json::to_value(report).unwrap_or_default())
    }

    fn bad_request(text: impl Into<String>) -> Self {
        Self::Text(StatusCode::BAD_REQUEST, text.into())
    }
}

/// What a port serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// What the server is doing.
    Monitoring,
    /// Which of its threads do it.
    Profiles,
}

impl Pages {
    fn name(self) -> &'static str {
        match self {
            Self::Monitoring => "monitoring",
            Self::Profiles => "profiling",
        }
    }
}

/// Opens the monitoring port, or that of profiles, and serves it until the server stops, on a thread of its own: what keeps the others busy does
/// not keep a health probe waiting.
pub(crate) async fn start(context: &Arc<Context>, reports: &Arc<Reports>, http: &Listen, pages: Pages) -> Result<()> {
    let options = context.live.get();
    let host = if http.host.is_empty() {
        &options.host
    } else {
        &http.host
    };
    let port = http.port;
    let failed = |source| Error::Monitor {
        address: format!("{host}:{port}"),
        source,
    };
    let (listener, address) = listen(host, port).await.map_err(failed)?;
    let listener = listener.into_std().map_err(failed)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MONITOR_LISTS + MONITOR_PAGES)
        .build()
        .map_err(failed)?;
    match pages {
        Pages::Monitoring => {
            context.status.set_monitor_address(address);
            let scheme = if options.https.is_some() { "https" } else { "http" };
            tracing::info!("Starting {scheme} monitor on {address}");
        }
        Pages::Profiles => {
            context.status.set_profiling_address(address);
            tracing::info!("profiling port: {}", address.port());
        }
    }
    let reports = Arc::clone(reports);
    let serve = move || {
        if let Err(error) = runtime.block_on(accept(reports, listener, pages)) {
            tracing::error!("the {} port is closed: {error}", pages.name());
        }
        // A page that waits for a storage thread is not waited for.
        runtime.shutdown_background();
    };
    std::thread::Builder::new()
        .name(match pages {
            Pages::Monitoring => "weir-monitor".to_owned(),
            Pages::Profiles => "weir-profiles".to_owned(),
        })
        .spawn(serve)
        .map_err(|source| Error::System {
            doing: "start the thread of the monitoring port",
            source,
        })?;
    Ok(())
}

async fn accept(reports: Arc<Reports>, listener: StdTcpListener, pages: Pages) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut stopped = reports.context.status.stopping();
    let secure = pages == Pages::Monitoring && reports.context.live.read().https.is_some();
    let connections = Connections::new(&reports.context);
    let mut sweeps = interval(MONITOR_SWEEP);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sweeps.tick() => {
                connections.sweep();
                continue;
            }
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_BACKOFF_MAX).await;
            continue;
        };
        let (reports, all) = (Arc::clone(&reports), Arc::clone(&connections));
        connections.admit(stream, |stream, activity| async move {
            let service = service_fn(|request| respond(&reports, &all, &activity, request, pages));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(MONITOR_QUIET);
            // As it is now; it may be another one since the last connection.
            let tls = reports.context.tls.client().filter(|_| secure);
            let outcome = match tls {
                Some(tls) => match encrypt(stream, &tls, peer).await {
                    Some(stream) => http.serve_connection(TokioIo::new(Escaped::new(stream)), service).await,
                    None => return,
                },
                None => http.serve_connection(TokioIo::new(Escaped::new(stream)), service).await,
            };
            if let Err(error) = outcome {
                tracing::debug!("monitoring connection: {error}");
            }
        });
    }
}

/// Has TLS with somebody who asks for pages. Nobody is asked for a certificate there, as in nats-server.
async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(stream: S, tls: &Tls, peer: SocketAddr) -> Option<TlsStream<S>> {
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.without_client));
    let why = match timeout(tls.options.timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "i/o timeout".to_owned(),
    };
    tracing::error!("monitoring: TLS handshake error from {peer}: {why}");
    None
}

async fn respond(
    reports: &Arc<Reports>,
    connections: &Connections,
    activity: &Arc<Activity>,
    request: Request<Incoming>,
    pages: Pages,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (uri, method) = (request.uri(), request.method());
    activity.serve(true);
    let hosts = request.headers().get_all(HOST).iter().count();
    let (answer, place) = match Place::of(uri.path()) {
        // Whom it means it must say once, from HTTP/1.1 on.
        _ if hosts == 0 && request.version() >= Version::HTTP_11 => {
            let text = "400 Bad Request: missing required Host header";
            (Answer::bad_request(text), None)
        }
        _ if hosts > 1 || *method == Method::CONNECT => (Answer::bad_request("400 Bad Request"), None),
        Place::Broken => (Answer::bad_request("400 Bad Request"), None),
        Place::Elsewhere(path) => {
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            (Answer::Elsewhere(path + &query), None)
        }
        Place::Page(path) => {
            let query = Query::parse(uri.query().unwrap_or_default());
            match pages {
                Pages::Profiles => (profile::make(reports, path, query).await, None),
                // A path outside of the base is that of no page.
                Pages::Monitoring => {
                    let base = base_path(&reports.context.live.read().http_base_path);
                    let path = match path.strip_prefix(base.as_str()) {
                        Some(path) if base.is_empty() => path.to_owned(),
                        // The index is at the base itself, without a slash behind it.
                        Some("") => "/".to_owned(),
                        Some("/") | None => "/?".to_owned(),
                        Some(path) => path.to_owned(),
                    };
                    make(reports, connections, activity, path, query).await
                }
            }
        }
    };
    activity.serve(false);
    let mut response = render(answer, place);
    // What a body holds would be taken for a request.
    if !request.body().is_end_stream() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Makes a page where it holds nobody up.
async fn make(
    reports: &Arc<Reports>,
    connections: &Connections,
    activity: &Arc<Activity>,
    path: String,
    query: Query,
) -> (Answer, Option<ListPlace>) {
    // Waits for nothing, so that nothing can keep it.
    if path == "/healthz" {
        return (page(reports, &path, &query), None);
    }
    let place = match path.as_str() {
        "/connz" | "/subsz" | "/subscriptionsz" | "/jsz" | "/accountz" | "/accstatz" | "/metrics" => {
            Some(connections.list_place(activity).await)
        }
        _ => None,
    };
    let reports = Arc::clone(reports);
    // Pages wait for locks, and the details of /jsz for the storage threads.
    let made = tokio::task::spawn_blocking(move || (page(&reports, &path, &query), place)).await;
    made.unwrap_or_else(|error| {
        let text = format!("{error}\n");
        (Answer::Text(StatusCode::INTERNAL_SERVER_ERROR, text), None)
    })
}

/// The pages, and the names their requests are counted under.
fn page(reports: &Reports, path: &str, query: &Query) -> Answer {
    let Some((name, make)) = find(path) else {
        return Answer::Text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
    };
    *reports.context.counters.pages.lock().entry(name).or_default() += 1;
    make(reports, query)
}

type Make = fn(&Reports, &Query) -> Answer;

/// The page at a path: the name that it is counted under, and what makes it.
fn find(path: &str) -> Option<(&'static str, Make)> {
    let make: (&'static str, Make) = match path {
        "/" => ("/", |reports, _| {
            Answer::Html(index(&base_path(&reports.context.live.read().http_base_path)))
        }),
        "/varz" => ("/varz", |reports, _| Answer::page(&reports.varz())),
        "/connz" => ("/connz", asked::connz),
        "/subsz" | "/subscriptionsz" => ("/subsz", asked::subsz),
        "/healthz" => ("/healthz", asked::healthz),
        "/jsz" => ("/jsz", asked::jsz),
        "/routez" => ("/routez", asked::routez),
        "/gatewayz" => ("/gatewayz", asked::gatewayz),
        "/leafz" => ("/leafz", asked::leafz),
        "/accountz" => ("/accountz", asked::accountz),
        "/accstatz" => ("/accstatz", asked::accstatz),
        "/metrics" => ("/metrics", |reports, _| {
            Answer::Metrics(reports.metrics(METRICS_SERIES))
        }),
        "/ipqueuesz" => ("/ipqueuesz", asked::ipqueuesz),
        "/raftz" => ("/raftz", |_, _| {
            Answer::Text(StatusCode::NOT_FOUND, "No Raft nodes registered".to_owned())
        }),
        "/stacksz" => ("/stacksz", |reports, _| Answer::Text(StatusCode::OK, reports.stacksz())),
        "/debug/vars" | "/expvarz" => ("/debug/vars", |reports, _| Answer::page(&reports.expvarz())),
        _ => return None,
    };
    Some(make)
}

/// A page on its way, with the place for lists that it holds until it is sent.
struct Page {
    text: String,
    _place: Option<ListPlace>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

fn render(answer: Answer, place: Option<ListPlace>) -> Response<Full<Bytes>> {
    let mut location = None;
    let (status, kind, text) = match answer {
        Answer::Json(status, value) => (
            status,
            "application/json",
            serde_json::to_string_pretty(&value).unwrap_or_default(),
        ),
        Answer::Line(status, text) => (status, "application/json", text),
        Answer::Text(status, text) => (status, "text/plain; charset=utf-8", text),
        Answer::Metrics(text) => (StatusCode::OK, prometheus_text::CONTENT_TYPE, text),
        Answer::Html(text) => (StatusCode::OK, "text/html; charset=utf-8", text),
        Answer::Elsewhere(path) => {
            let text = format!("{path}\n");
            location = HeaderValue::from_str(&path).ok();
            (StatusCode::TEMPORARY_REDIRECT, "text/plain; charset=utf-8", text)
        }
    };
    let body = Bytes::from_owner(Page { text, _place: place });
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if kind == "application/json" {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if let Some(location) = location {
        headers.insert(LOCATION, location);
    }
    response
}

/// Links are as nats-server makes them: from beside the base, where the page itself is.
fn index(base: &str) -> String {
    let pages = [
        ("varz", "General"),
        ("jsz", "JetStream"),
        ("connz", "Connections"),
        ("accountz", "Accounts"),
        ("accstatz", "Account Stats"),
        ("subsz", "Subscriptions"),
        ("routez", "Routes"),
        ("leafz", "LeafNodes"),
        ("gatewayz", "Gateways"),
        ("raftz", "Raft Groups"),
        ("metrics", "Metrics for Prometheus"),
        ("ipqueuesz", "Queues"),
        ("healthz", "Health Probe"),
        ("stacksz", "Threads"),
        ("debug/vars", "Process"),
    ];
    let base = match base.trim_matches('/') {
        "" => String::new(),
        base => format!("{base}/"),
    };
    let links: String = pages
        .iter()
        .map(|(path, name)| format!("<p><a href=\"./{base}{path}\">{name}</a> /{path}</p>\n"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>weir-server</title></head>\n<body>\n<h1>weir-server {}</h1>\n{links}</body>\n</html>\n",
        WEIR_VERSION
    )
}
