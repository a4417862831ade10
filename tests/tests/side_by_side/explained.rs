//! The differences that are meant, each with its reason.

/// A difference that is no mistake.
pub struct Explained {
    /// The beginnings of names of files where it is; none: everywhere.
    pub file: &'static str,
    /// A part of the question; nothing: any.
    pub asked: &'static str,
    /// Fields of the answer: where a path has these parts, one behind the other.
    pub path: &'static str,
    /// Why. It is for whoever reads this.
    #[allow(dead_code, reason = "it is for whoever reads this")]
    pub why: &'static str,
}

const fn everywhere(path: &'static str, why: &'static str) -> Explained {
    asked("", path, why)
}

const fn asked(asked: &'static str, path: &'static str, why: &'static str) -> Explained {
    file("", asked, path, why)
}

const fn file(file: &'static str, asked: &'static str, path: &'static str, why: &'static str) -> Explained {
    Explained { file, asked, path, why }
}

/// Subscriptions of the server's own are other ones, and so are their numbers.
const OWN: &str = "parts of the server subscribe otherwise, and are counted";
/// What Go's server keeps count of when it looks a subject up.
const LOOKED_UP: &str = "there is no cache that all senders share";
const ABSENT: &str = "nothing listens there, and /varz says so";
const ENDED: &str = "of connections that have ended, or were not let in, less is kept";
const CLOSED: &str = "state=closed";
/// Where a service decides who may come in.
const CALLOUTS: &str = "40- 41- 42- 43- 96-";
const COUNTED: &str = "whom a service has let in may see the page before nats-server has counted what the service said";

pub const EXPLAINED: &[Explained] = &[
    // Everywhere.
    everywhere("git_commit", "Weir is no build of that commit"),
    everywhere("sync_interval", "Weir syncs always: sync_always"),
    everywhere("sync_always", "Weir syncs always"),
    everywhere("store_dir", "a store of Weir's is the folder itself"),
    everywhere("compress_ok", "it is about what servers send each other"),
    everywhere(
        "server/flags",
        "Weir does not say that an account has traffic of clusters",
    ),
    everywhere("num_subscriptions", OWN),
    everywhere("num_inserts", OWN),
    everywhere("num_removes", OWN),
    everywhere("num_cache", LOOKED_UP),
    everywhere("num_matches", LOOKED_UP),
    everywhere("cache_hit_rate", LOOKED_UP),
    everywhere("max_fanout", LOOKED_UP),
    everywhere("avg_fanout", LOOKED_UP),
    everywhere(
        "tls_cipher_suite",
        "of the suites of TLS 1.3 rustls likes AES-256 best, Go AES-128",
    ),
    everywhere("sent/bytes", "answers hold numbers of other lengths, and are counted"),
    everywhere(
        "sent_to_clients/bytes",
        "answers hold numbers of other lengths, and are counted",
    ),
    asked("VARZ", "data/subscriptions", OWN),
    asked("/varz", "body/subscriptions", OWN),
    asked("PING", "statsz/subscriptions", OWN),
    asked("ACCOUNT", "data/account_detail/subscriptions", OWN),
    asked("INFO", "data/subscriptions", OWN),
    asked("/accountz", "account_detail/subscriptions", OWN),
    asked("subsz", "total", OWN),
    asked("SUBSZ", "total", OWN),
    // Connections that are gone.
    asked(CLOSED, "subscriptions_list_detail", ENDED),
    asked(CLOSED, "name_tag", ENDED),
    asked(CLOSED, "account", ENDED),
    asked(CLOSED, "jwt", ENDED),
    asked(CLOSED, "issuer_key", ENDED),
    asked(
        CLOSED,
        "tls_peer_certs",
        "nats-server tells those only while they are there",
    ),
    // What is counted when.
    asked(
        "$SYS",
        "received/msgs",
        "the question itself is counted once it is worked off",
    ),
    asked(
        "$SYS",
        "in_bytes",
        "the question itself is counted once it is worked off",
    ),
    asked(
        "$SYS",
        "in_client_bytes",
        "the question itself is counted once it is worked off",
    ),
    asked(
        "$SYS",
        "in_client_msgs",
        "the question itself is counted once it is worked off",
    ),
    asked(
        "$SYS",
        "received_from_clients/msgs",
        "the question itself is counted once it is worked off",
    ),
    asked(
        "$SYS",
        "in_msgs",
        "the question itself is counted once it is worked off",
    ),
    file(
        "11- 12- 13- 14- 15- 16- 18- 51- 87-",
        "",
        "sent/msgs",
        "nats-server counts what goes to another account with the account that it comes from",
    ),
    file(
        "01-nothing",
        "acc",
        "*",
        "a client that has not said CONNECT is not counted with an account",
    ),
    // Files.
    file(CALLOUTS, "varz", "in_msgs", COUNTED),
    file(CALLOUTS, "varz", "in_bytes", COUNTED),
    file(CALLOUTS, "varz", "in_client_msgs", COUNTED),
    file(CALLOUTS, "varz", "in_client_bytes", COUNTED),
    file("96-", "callout", "client_tls/cipher", "as tls_cipher_suite"),
    file(
        "12-system 74- 92-",
        "CONNZ",
        "authorized_user",
        "nats-server makes up a user for those who say nothing where only the system account has some",
    ),
    file(
        "12-system 74- 92-",
        "connz",
        "authorized_user",
        "nats-server makes up a user for those who say nothing where only the system account has some",
    ),
    file("81- 83- 98-", "/varz", "cluster", ABSENT),
    file("82- 98-", "/varz", "leaf", ABSENT),
    file("83- 98-", "", "gateway", ABSENT),
    file("83-", "/gatewayz", "*", ABSENT),
    file("83-", "INFO", "cluster", ABSENT),
    file("84-", "/varz", "mqtt", ABSENT),
    file(
        "20- 21- 22- 23- 25- 26- 31- 87-",
        "SUBSZ",
        "subscriptions_list",
        "streams hear their subjects as parts of the server: without a number of their own",
    ),
    file(
        "20- 21- 22- 23- 25- 26- 27- 28- 29- 31- 87- 95- 97-",
        "subsz",
        "subscriptions_list",
        "streams hear their subjects as parts of the server: without a number of their own",
    ),
    file(
        "11-an 12-an 13-an 37- 51- 93-",
        "subsz",
        "subscriptions_list",
        "what is heard of another account is told with that account, and has no number",
    ),
    file("43-", CLOSED, "authorized_user", ENDED),
    file(
        "87-",
        "CONNZ",
        "subscriptions_list_detail",
        "what is heard of another account is counted with the subscription, too",
    ),
    file(
        "23- 87- 95-",
        "",
        "mappings",
        "JetStream's domain is no mapping of accounts",
    ),
    file(
        "31-",
        "jsz",
        "reserved_memory",
        "of an account with tiers nats-server tells nothing",
    ),
    file(
        "31-",
        "jsz",
        "reserved_storage",
        "of an account with tiers nats-server tells nothing",
    ),
    file(
        "33-trusted",
        "",
        "system_account",
        "there is one, though nobody is in it",
    ),
    file(
        "39-claims",
        "CLAIMS",
        "*",
        "a resolver's directory keeps no token that no operator has signed",
    ),
    file(
        "90-",
        "",
        "*",
        "permissions beside a single user or a token hold; nats-server reads them and does nothing with them",
    ),
    file(
        "57-files",
        "files",
        "one.pid",
        "the file of before a reload is removed; nats-server leaves it, with a number in it that may become another process's",
    ),
    file(
        "59-url-resolver-goes",
        "reload",
        "*",
        "a resolver of another kind takes a restart",
    ),
    file(
        "59-url-resolver-goes",
        "varz",
        "config_digest",
        "a resolver of another kind takes a restart",
    ),
    file(
        "35-operator-comes",
        "reload",
        "option",
        "of two options that cannot be changed the other one is named",
    ),
    file(
        "29-jetstream-sizes 68-fixed 69-fixed",
        "reload",
        "option",
        "a key of JetStream's block is named as it stands in the file",
    ),
    file(
        "62-wrong-certificate",
        "reload",
        "*",
        "files are looked at when the whole configuration is right, and are told by their names",
    ),
    // Reloads.
    file("53-links", "", "*", "what is accepted without effect may come and go"),
    file(
        "54-callout",
        "",
        "*",
        "clients that a service has let in stay if it lets them in again; nats-server sends them away",
    ),
    file(
        "15-account",
        "subsz",
        "*",
        "which of its clients an account loses is the server's choice",
    ),
    file(
        "05-open",
        "",
        "*",
        "who would be let in by what it said stays; nats-server closes all that came before there were users",
    ),
    file(
        "34-operator-accounts",
        "/acc",
        "*",
        "an account that is no longer preloaded is told of still, without clients",
    ),
];
