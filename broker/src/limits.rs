//! Every bound of the broker that is not an option, and why it has its value.

use std::time::Duration;

/// First read buffer of a connection, in bytes. Holds any CONNECT that clients send, and keeps an idle connection small.
pub const READ_BUFFER_MIN: usize = 1024;

/// Largest read buffer, in bytes, but for one message that is larger. Half of it costs a busy publisher more system calls and more
/// acknowledgements of TCP; beyond this, larger reads save no measurable time, hold back the receivers, who are served once per read, and
/// leave less of the processor's cache to others.
pub const READ_BUFFER_MAX: usize = 128 * 1024;

/// A piece of a read chunk is kept without copying it if so many times its size is no less than the memory it keeps: what is
/// kept of messages is then at most so many times what their bounds count.
pub const KEEP_SHARE: usize = 2;

/// Memory that copies of small pieces share, in bytes; larger pieces are copied alone. It stays as long as one of them does,
/// so it is small; it holds some messages, so that copying is cheaper than allocating.
pub const KEEP_BLOCK: usize = 1024;

/// Reads of one connection before its task lets others run, so that one fast publisher does not starve a worker thread.
pub const READS_PER_TURN: usize = 16;

/// Capacity kept in each of a connection's two outbound buffers once they are empty, in bytes. Above it, memory goes back at
/// once; below it, the janitor takes it from connections that are idle.
pub const OUTBOUND_KEEP: usize = 256 * 1024;

/// Bytes waiting for one client at which the sender writes them at once instead of at the end of its batch: as much as a
/// socket's buffer takes, so that waiting longer gains nothing.
pub const EARLY_WRITE: usize = 128 * 1024;

/// Buffers that one thread writes to one socket in a row before it leaves the rest to a task of its own: a publisher must
/// not become the servant of a receiver that others feed too.
pub const FLUSH_ROUNDS: usize = 4;

/// Clients that a storage thread writes to itself at the end of a turn. If there are more, all is left to the threads that they live on:
/// to wake those costs as much as to write to a few.
pub const WRITE_FEW: usize = 4;

/// Bytes for one client that are encrypted, or put into frames, on the sender's own thread for connections; more is left to the client's
/// thread, so that one encrypts while the other reads. To wake it costs as much as to encrypt this.
pub const WRITE_LITTLE: usize = 16 * 1024;

/// Part of `max_pending` (in quarters) at which publishers to that client are slowed down.
pub const STALL_QUARTERS: usize = 3;

/// Part of `max_pending` that consumers fill: while more than one in so many bytes of it waits for a client, messages of
/// streams stay where they are. Publishers and answers have the rest. Deliveries go on at half of it.
pub const DELIVER_PART: usize = 4;

/// How long a publisher waits for a receiver that is behind, per read. nats-server waits 2 to 5 ms, at most 10 ms a read.
pub const STALL: Duration = Duration::from_millis(5);

/// Slots of a match cache at first and at most. 1,024 hot subjects fit; more rotate through it.
pub const MATCH_SLOTS_MIN: usize = 16;
/// See [`MATCH_SLOTS_MIN`].
pub const MATCH_SLOTS_MAX: usize = 1024;

/// Kinds of subjects that a match cache knows by their first tokens, where no subscription looks at the others: the
/// acknowledgements of as many consumers, say.
pub const MATCH_FAMILIES: usize = 8;
/// With all of those in use, every how many unknown subjects one gives way.
pub const MATCH_FAMILY_CHANGE: usize = 16;

/// Longest subject that the match cache remembers, in bytes: longer ones are rare, and would make its size unbounded.
pub const MATCH_SUBJECT_MAX: usize = 256;

/// How often it is looked whether much memory was let go of.
pub const MEMORY_PERIOD: Duration = Duration::from_secs(5);
/// Of the time at most one part in so many is spent on that.
pub const MEMORY_SHARE: u32 = 1_000;

/// How often the janitor looks at all connections, at most: pings, stale connections, idle memory. Shorter when the ping
/// interval or the authentication timeout is shorter.
pub const JANITOR_PERIOD_MAX: Duration = Duration::from_secs(1);
/// See [`JANITOR_PERIOD_MAX`].
pub const JANITOR_PERIOD_MIN: Duration = Duration::from_millis(10);

/// When the first PING is sent to a client that said CONNECT, so that its round trip time is known. As nats-server.
pub const FIRST_PING: Duration = Duration::from_secs(2);

/// How long a WebSocket's HTTP request may take, unless the options say otherwise. nats-server would wait for ever.
pub const UPGRADE_TIME: Duration = Duration::from_secs(10);

/// Largest frame that is sent by WebSocket, in bytes before it is compressed: what is in the making for one connection.
pub const FRAME_MAX: usize = 64 * 1024;

/// Bytes up to which it is not worth the time to compress a frame. As nats-server.
pub const COMPRESS_MIN: usize = 64;

/// A compressed message may hold so many times `max_payload`, but no more than [`INFLATED_MAX`]. As nats-server.
pub const INFLATED_PAYLOADS: u64 = 8;
/// See [`INFLATED_PAYLOADS`], in bytes.
pub const INFLATED_MAX: u64 = 64 * 1024 * 1024;

/// How long a connection that is closed may take to read the last bytes meant for it.
pub const CLOSE_LINGER: Duration = Duration::from_secs(2);

/// How long a shutdown waits for connections to end by themselves.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);

/// The longest pause between two clients that lame duck mode closes. As nats-server.
pub const LAME_DUCK_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Pause after a failed accept (no file descriptors left): doubled each time, as nats-server.
pub const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(10);
/// See [`ACCEPT_BACKOFF_MIN`].
pub const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Most threads that serve connections; one per core up to this. More than the network's interrupts can keep busy are of no
/// use, and each has an event loop.
pub const IO_THREADS_MAX: usize = 16;

/// Connections waiting to be accepted that the kernel keeps for us.
pub const LISTEN_BACKLOG: i32 = 1024;

/// File descriptors kept for storage: open segments, journals and RocksDB's tables, of which each has a bound of its own. A
/// server whose limit is below twice this keeps half of it.
pub const STORAGE_DESCRIPTORS: usize = 1_024;

/// File descriptors kept for the rest: event loops, listeners, logs, standard input and output.
pub const OWN_DESCRIPTORS: usize = 64;

/// Connections over the most there may be that are told so at the same time; more are closed without a word.
pub const REFUSALS: usize = 32;

/// Connections listed by the monitoring port unless asked for more. As nats-server.
pub const MONITOR_LIST_DEFAULT: usize = 1024;

/// What is kept of the token of a connection that has ended, in bytes, and as much of its labels: a longer token is not told any more. With
/// `max_closed_clients` this bounds what is kept of all.
pub const CLOSED_TOKEN_MAX: usize = 4096;

/// Rows of one page at most, whatever it is asked for; the rest is behind `offset`. Each costs up to 1 KiB while the page is
/// made.
pub const MONITOR_LIST_MAX: usize = 65_536;

/// Connections the monitoring port serves at once. One more takes the place of the one that has been quiet for longest.
pub const MONITOR_CONNECTIONS: usize = 64;

/// How long a connection of the monitoring port may leave its request's head unfinished, or send and take nothing at all,
/// before it is closed; so also how long it is kept open for a next request.
pub const MONITOR_QUIET: Duration = Duration::from_secs(10);

/// How often the monitoring port looks for connections to close.
pub const MONITOR_SWEEP: Duration = Duration::from_secs(1);

/// Pages that may be long (`/connz`, `/subsz`, `/jsz`) in the making or on their way at once; further requests wait. Each
/// is as large as what is asked for, so their number bounds memory.
pub const MONITOR_LISTS: usize = 4;

/// How long one of them may take until it is sent.
pub const MONITOR_LIST_TIME: Duration = Duration::from_secs(60);

/// Series on `/metrics` at most. Accounts come first, then streams, then consumers; how many of these are left out is a series itself.
pub const METRICS_SERIES: usize = 50_000;

/// Events and requests of the system account that wait to be told and answered; more are not told, and not answered.
pub const SYSTEM_QUEUE: usize = 1024;

/// Longest request of the system account, in bytes: what is asked for is a few words of JSON.
pub const SYSTEM_REQUEST_MAX: usize = 64 * 1024;

/// How often the server tells the system account of itself, once it has run for a while. As nats-server.
pub const STATSZ_PERIOD_MAX: Duration = Duration::from_secs(10);
/// How long after the start it does so first; then after twice as long each time.
pub const STATSZ_PERIOD_MIN: Duration = Duration::from_millis(250);

/// How often the connections of accounts that have any are told. As nats-server.
pub const CONNS_PERIOD: Duration = Duration::from_secs(30);

/// Other pages in the making at once.
pub const MONITOR_PAGES: usize = 2;

/// Requests that one client was sent and may answer (`allow_responses`), at most: beyond that, the older half is forgotten. Reached
/// by one that does not answer, and whose requests do not end by themselves.
pub const REPLIES_MAX: usize = 65_536;
/// After so many requests, those that are over are forgotten. As nats-server.
pub const REPLIES_PRUNE: usize = 4096;

/// Passwords that are compared with bcrypt hashes at a time. Each takes a core for as long as whoever made the hash wanted; the
/// others wait, so that clients which guess do not have all cores.
pub const BCRYPT_AT_ONCE: usize = 2;

/// Requests from other accounts to one account that wait for answers, at most: beyond that, the oldest gets none. Reached where a service
/// does not answer within its threshold, or sends any number of answers and never an empty one.
pub const ANSWERS_MAX: usize = 262_144;
/// Requests that are over and whose places are not given back yet, at most, beside as many as are open.
pub const ANSWERS_PRUNE: usize = 1024;

/// Accounts that one message goes through, by way of imports of services, at most.
pub const IMPORTS_DEEP: usize = 32;

/// Bytes that are encrypted at a time, and wait with the link until the socket has taken all of them.
pub const TLS_PARCEL: usize = 64 * 1024;

/// Bytes that are read at a time from a connection that is encrypted, at least: what is read there is more than what it holds.
pub const TLS_READ_MIN: usize = 4096;

/// The same at most: some records, of 16 KiB each. Every thread for connections has so much memory for it.
pub const TLS_READ_MAX: usize = 64 * 1024;

/// Bytes that a client without a certificate may send before its handshake is over: a greeting, which is a few hundred bytes, and
/// its end.
pub const TLS_HANDSHAKE_MAX: usize = 16 * 1024;
/// The same with a certificate, and those that it depends on.
pub const TLS_HANDSHAKE_WITH_CERTIFICATE_MAX: usize = 64 * 1024;

/// Bytes of what a certificate's authority says of it (OCSP), at most: it goes with every handshake.
pub const OCSP_ANSWER_MAX: usize = 32 * 1024;
/// How long one request to a responder of OCSP may take.
pub const OCSP_REQUEST: Duration = Duration::from_secs(5);
/// How long all requests about one certificate may take. A start, and a reload, wait for them.
pub const OCSP_PATIENCE: Duration = Duration::from_secs(20);
/// The longest time between two questions about one certificate: what is good for long can be revoked tomorrow.
pub const OCSP_PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The shortest time between two of them.
pub const OCSP_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The shortest time between two of them once the last answer has run out, and no new one could be had.
pub const OCSP_PAUSE_EXPIRED: Duration = Duration::from_secs(5);
/// How far the clock of a responder may be ahead.
pub const OCSP_AHEAD: Duration = Duration::from_secs(30);
/// Certificates in an answer of which one may have signed it, at most.
pub const OCSP_SIGNERS_MAX: usize = 8;

/// Certificates of clients of which it is remembered what was said of them. Of more, those that were asked about first are forgotten. Each costs some 200 bytes.
pub const OCSP_KNOWN_MAX: usize = 16_384;
/// Responders that are asked about certificates of clients at once; whoever comes beyond that waits, within [`OCSP_PATIENCE`].
pub const OCSP_ASKED_AT_ONCE: usize = 16;
/// Certificates from a client's to one that is trusted, at most.
pub const OCSP_CHAIN_MAX: usize = 8;
/// Responders that are asked about one certificate of a client, at most: one after the other, until one answers.
pub const OCSP_RESPONDERS_MAX: usize = 4;

/// Events that are told of one traced message, at most: beyond that its journey is told without the rest. A message to more connections
/// than that is traced to the first of them.
pub const JOURNEY_EVENTS_MAX: usize = 16_384;
/// Events of all traced messages together that wait to be told, at most; of messages beyond that nothing is told. Each costs some 200 bytes.
pub const JOURNEYS_WAITING_MAX: usize = 131_072;

/// Time for a proxy to say where a client is, as in nats-server.
pub const PROXY_HEADER: Duration = Duration::from_secs(5);
/// Time between two looks whether it has said more.
pub const PROXY_HEADER_POLL: Duration = Duration::from_millis(5);

/// Threads listed at most: Weir has some twenty, whatever is asked of it.
pub const THREADS_MAX: usize = 1024;
/// How long one may have the profiling port watch the threads.
pub const PROFILE_MAX: Duration = Duration::from_secs(60);
