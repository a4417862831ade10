//! `/metrics`: numbers for Prometheus.
//!
//! They are gathered when they are asked for. What streams and consumers are at is asked of the storage threads a portion at a time.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use weir_engine::shard::SYNC_CLASSES;

use super::Reports;
use super::accounts::AccountStat;
use crate::jetstream::JetStream;
use crate::jetstream::api::series::{ConsumerSeries, StreamSeries, numbers, stream_series};
use crate::version::WEIR_VERSION;

/// Series of one account, one stream and one consumer.
const PER_ACCOUNT: usize = 7;
const PER_STREAM: usize = 6;
const PER_CONSUMER: usize = 5;
/// Series of the server as a whole, those of the histogram with them.
const OF_THE_SERVER: usize = 48;

type Labels = Vec<(&'static str, String)>;

/// A metric: its values by labels.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    counts: bool,
    values: Vec<(Labels, f64)>,
}

/// All of them.
#[derive(Debug, Default)]
struct Gathered {
    metrics: Vec<Metric>,
    /// Syncs by how long they took, and how long all of them took, in seconds.
    syncs: Option<(f64, Vec<(f64, u64)>)>,
}

impl Gathered {
    /// A value of the server as a whole.
    fn one(&mut self, counts: bool, name: &'static str, help: &'static str, value: f64) {
        self.metrics.push(Metric {
            name,
            help,
            counts,
            values: vec![(Vec::new(), value)],
        });
    }

    /// A value of each of some things.
    fn each<T>(&mut self, kind: Kind, all: &[T], labels: impl Fn(&T) -> Labels, value: impl Fn(&T) -> Option<f64>) {
        let (counts, name, help) = kind;
        let values = all.iter().filter_map(|one| Some((labels(one), value(one)?)));
        self.metrics.push(Metric {
            name,
            help,
            counts,
            values: values.collect(),
        });
    }
}

/// Whether a metric only grows, its name, and what it tells.
type Kind = (bool, &'static str, &'static str);

/// Handed to the encoder once.
#[derive(Debug)]
struct Once(Mutex<Gathered>);

impl Collector for Once {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Ok(gathered) = self.0.lock() else {
            return Err(fmt::Error);
        };
        for metric in &gathered.metrics {
            let kind = match metric.counts {
                true => MetricType::Counter,
                false => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for (labels, value) in &metric.values {
                let one = family.encode_family(labels)?;
                match metric.counts {
                    true => ConstCounter::new(*value).encode(one)?,
                    false => ConstGauge::new(*value).encode(one)?,
                }
            }
        }
        if let Some((sum, buckets)) = &gathered.syncs {
            let help = "How long syncing the journals took, in seconds";
            let mut histogram =
                encoder.encode_descriptor("weir_jetstream_sync_seconds", help, None, MetricType::Histogram)?;
            let count = buckets.iter().map(|(_, count)| count).sum();
            histogram.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
        }
        Ok(())
    }
}

impl Reports {
    /// Numbers in the text format of Prometheus, at most about `most` series: of the server, then of accounts, streams and consumers,
    /// as many of these as there is room for. Waits for the storage threads, on the thread that asks.
    #[must_use]
    pub fn metrics(&self, most: usize) -> String {
        let mut gathered = Gathered::default();
        let mut room = most.saturating_sub(OF_THE_SERVER);
        server(self, &mut gathered);
        let left_out = accounts(self, &mut gathered, &mut room)
            + self.jetstream.get().map_or(0, |js| {
                store(&js, &mut gathered);
                streams(&js, &mut gathered, &mut room)
            });
        let help = "Accounts, streams and consumers whose series there was no room for";
        gathered.one(false, "weir_metrics_left_out", help, left_out as f64);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Once(Mutex::new(gathered))));
        let mut text = String::new();
        if let Err(error) = prometheus_text::encode(&mut text, &registry) {
            tracing::error!("metrics: {error}");
        }
        text
    }
}

fn server(reports: &Reports, gathered: &mut Gathered) {
    let context = &reports.context;
    let (counters, traffic) = (&context.counters, reports.hall.traffic());
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let accounts = reports.accounts.all();
    let subscriptions: usize = accounts.iter().map(|account| account.subscription_counts().0).sum();
    gathered.metrics.push(Metric {
        name: "weir_info",
        help: "Always 1; the labels say which server this is",
        counts: false,
        values: vec![(
            vec![
                ("server_id", context.identity.id.clone()),
                ("server_name", context.identity.name.clone()),
                ("version", WEIR_VERSION.to_owned()),
            ],
            1.0,
        )],
    });
    let gauges = [
        (
            "weir_start_time_seconds",
            "When the server was started, in seconds since 1970",
            context.clock.start.as_second() as f64,
        ),
        (
            "weir_connections",
            "Client connections",
            reports.hall.sessions.count() as f64,
        ),
        (
            "weir_subscriptions",
            "Subscriptions of all accounts",
            subscriptions as f64,
        ),
        (
            "weir_memory_resident_bytes",
            "Memory that is resident, mapped files included",
            reports.resident_bytes() as f64,
        ),
    ];
    for (name, help, value) in gauges {
        gathered.one(false, name, help, value);
    }
    let counts = [
        (
            "weir_connections_accepted",
            "Connections ever accepted",
            load(&counters.connections),
        ),
        ("weir_in_messages", "Messages from clients", traffic.in_messages as f64),
        (
            "weir_in_bytes",
            "Bytes of headers and payloads from clients",
            traffic.in_bytes as f64,
        ),
        ("weir_out_messages", "Messages to clients", traffic.out_messages as f64),
        (
            "weir_out_bytes",
            "Bytes of headers and payloads to clients",
            traffic.out_bytes as f64,
        ),
        (
            "weir_slow_consumers",
            "Connections closed because they did not read fast enough",
            load(&counters.slow_consumers),
        ),
        (
            "weir_stale_connections",
            "Connections closed because they did not answer",
            load(&counters.stale_connections),
        ),
        (
            "weir_stalled_clients",
            "Times a publisher was made to wait for a receiver",
            load(&counters.stalled_clients),
        ),
    ];
    for (name, help, value) in counts {
        gathered.one(true, name, help, value);
    }
}

/// Answers how many there was no room for.
fn accounts(reports: &Reports, gathered: &mut Gathered, room: &mut usize) -> usize {
    let mut all = reports.account_stats(&reports.accounts.all());
    let left_out = all.len().saturating_sub(*room / PER_ACCOUNT);
    all.truncate(*room / PER_ACCOUNT);
    *room -= all.len() * PER_ACCOUNT;
    type Value = fn(&AccountStat) -> f64;
    let labels = |stat: &AccountStat| vec![("account", stat.acc.clone())];
    let values: [(Kind, Value); PER_ACCOUNT] = [
        ((false, "weir_account_connections", "Client connections"), |stat| {
            stat.conns as f64
        }),
        ((false, "weir_account_subscriptions", "Subscriptions"), |stat| {
            stat.num_subscriptions as f64
        }),
        ((true, "weir_account_in_messages", "Messages from clients"), |stat| {
            stat.received.all().msgs as f64
        }),
        ((true, "weir_account_in_bytes", "Bytes from clients"), |stat| {
            stat.received.all().bytes as f64
        }),
        ((true, "weir_account_out_messages", "Messages to clients"), |stat| {
            stat.sent.all().msgs as f64
        }),
        ((true, "weir_account_out_bytes", "Bytes to clients"), |stat| {
            stat.sent.all().bytes as f64
        }),
        (
            (
                true,
                "weir_account_slow_consumers",
                "Connections closed because they did not read fast enough",
            ),
            |stat| stat.slow_consumers as f64,
        ),
    ];
    for (kind, value) in values {
        gathered.each(kind, &all, labels, |stat| Some(value(stat)));
    }
    left_out
}

/// The store as a whole.
fn store(js: &JetStream, gathered: &mut Gathered) {
    let catalogue = js.catalogue();
    let held = numbers(js);
    let gauges = [
        ("weir_jetstream_streams", "Streams", held.streams),
        ("weir_jetstream_consumers", "Consumers", held.consumers),
        ("weir_jetstream_messages", "Messages stored", held.messages),
        ("weir_jetstream_memory_bytes", "Bytes in streams in memory", held.memory),
        ("weir_jetstream_storage_bytes", "Bytes in streams on disk", held.storage),
        (
            "weir_jetstream_memory_max_bytes",
            "Bytes that streams in memory may hold",
            js.capacity.memory,
        ),
        (
            "weir_jetstream_storage_max_bytes",
            "Bytes that streams on disk may hold",
            js.capacity.file,
        ),
        (
            "weir_jetstream_streams_offline",
            "Streams that are offline",
            catalogue.offline() as u64,
        ),
        (
            "weir_jetstream_findings",
            "Damage and losses of the store's own bookkeeping that nobody has settled",
            catalogue.finding_count() as u64,
        ),
        (
            "weir_jetstream_messages_lost",
            "Messages lost that nobody has settled",
            catalogue.lost(),
        ),
    ];
    for (name, help, value) in gauges {
        gathered.one(false, name, help, value as f64);
    }
    let counts = [
        (
            "weir_jetstream_api_requests",
            "Requests of the API",
            &js.api_requests.total,
        ),
        (
            "weir_jetstream_api_errors",
            "Requests of the API answered with an error",
            &js.api_requests.errors,
        ),
    ];
    for (name, help, counter) in counts {
        gathered.one(true, name, help, counter.load(Ordering::Relaxed) as f64);
    }
    let classes = js.syncs().classes();
    let bounds = SYNC_CLASSES
        .iter()
        .map(|bound| *bound as f64 / 1e9)
        .chain([f64::INFINITY]);
    gathered.syncs = Some((js.syncs().nanos() as f64 / 1e9, bounds.zip(classes).collect()));
}

/// Answers how many streams and consumers there was no room for.
fn streams(js: &JetStream, gathered: &mut Gathered, room: &mut usize) -> usize {
    let mut all = js.catalogue().all();
    all.sort_by(|a, b| (&a.account, &a.name).cmp(&(&b.account, &b.name)));
    let fit = *room / PER_STREAM;
    let mut left_out: usize = all
        .iter()
        .skip(fit)
        .map(|entry| 1 + usize::try_from(entry.stats.consumers()).unwrap_or(0))
        .sum();
    all.truncate(fit);
    *room -= all.len() * PER_STREAM;
    let mut found: Vec<StreamSeries> = Vec::with_capacity(all.len());
    for entry in &all {
        let series = stream_series(js, entry, *room / PER_CONSUMER);
        *room -= series.consumers.len() * PER_CONSUMER;
        left_out += series.left_out;
        found.push(series);
    }
    of_streams(gathered, &found);
    let consumers: Vec<(&StreamSeries, &ConsumerSeries)> = found
        .iter()
        .flat_map(|stream| stream.consumers.iter().map(move |consumer| (stream, consumer)))
        .collect();
    of_consumers(gathered, &consumers);
    left_out
}

fn stream_labels(stream: &StreamSeries) -> Labels {
    vec![
        ("account", stream.entry.account.to_string()),
        ("stream", stream.entry.name.to_string()),
    ]
}

fn of_streams(gathered: &mut Gathered, all: &[StreamSeries]) {
    type Value = fn(&StreamSeries) -> Option<f64>;
    let values: [(Kind, Value); PER_STREAM] = [
        ((false, "weir_stream_messages", "Messages"), |stream| {
            Some(stream.entry.stats.messages() as f64)
        }),
        ((false, "weir_stream_bytes", "Bytes, as limits count them"), |stream| {
            Some(stream.entry.stats.bytes() as f64)
        }),
        ((false, "weir_stream_consumers", "Consumers"), |stream| {
            Some(stream.entry.stats.consumers() as f64)
        }),
        (
            (false, "weir_stream_first_seq", "Sequence of the first message"),
            |stream| stream.seqs.map(|(first, _)| first as f64),
        ),
        (
            (
                false,
                "weir_stream_last_seq",
                "Sequence of the last message there ever was",
            ),
            |stream| stream.seqs.map(|(_, last)| last as f64),
        ),
        ((false, "weir_stream_messages_lost", "Messages lost"), |stream| {
            Some(stream.entry.stats.lost() as f64)
        }),
    ];
    for (kind, value) in values {
        gathered.each(kind, all, stream_labels, value);
    }
}

fn of_consumers(gathered: &mut Gathered, all: &[(&StreamSeries, &ConsumerSeries)]) {
    type Value = fn(&ConsumerSeries) -> Option<f64>;
    let labels = |(stream, consumer): &(&StreamSeries, &ConsumerSeries)| {
        let mut labels = stream_labels(stream);
        labels.push(("consumer", consumer.name.to_string()));
        labels
    };
    let values: [(Kind, Value); PER_CONSUMER] = [
        (
            (
                false,
                "weir_consumer_lag_messages",
                "Messages not sent yet (num_pending)",
            ),
            |consumer| Some(consumer.num_pending as f64),
        ),
        (
            (
                false,
                "weir_consumer_lag_seconds",
                "How long the message that is sent next has waited; missing where that is on a disk",
            ),
            |consumer| consumer.lag_seconds,
        ),
        (
            (
                false,
                "weir_consumer_ack_pending",
                "Messages sent and not acknowledged (num_ack_pending)",
            ),
            |consumer| Some(consumer.num_ack_pending as f64),
        ),
        (
            (
                false,
                "weir_consumer_redelivered",
                "Of those, messages sent more than once (num_redelivered)",
            ),
            |consumer| Some(consumer.num_redelivered as f64),
        ),
        (
            (false, "weir_consumer_waiting", "Pull requests that wait (num_waiting)"),
            |consumer| Some(consumer.num_waiting as f64),
        ),
    ];
    for (kind, value) in values {
        gathered.each(kind, all, labels, |(_, consumer)| value(consumer));
    }
}
