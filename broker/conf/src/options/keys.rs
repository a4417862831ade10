//! The keys of nats-server 2.15, block by block.

use super::schema::Kind::{
    Block, Blocks, Bool, BoolOr, Compression, Int, List, Listen, Name, Own, Range, Size, Strings, Switches, Text,
    Texts, Time, Word,
};
use super::schema::{Key, key};

/// The top of the file. What `Own` stands at is read by code of its own, which also says what is unknown in it.
pub(super) const TOP: &[Key] = &[
    key("listen", Listen),
    key("client_advertise", Text),
    key("port", Int),
    key("server_name", Text),
    key("host net", Text),
    key("debug", Bool),
    key("trace", Bool),
    key("trace_verbose", Bool),
    key("trace_headers", Bool),
    key("logtime", Bool),
    key("logtime_utc", Bool),
    key("mappings maps", Own),
    key("disable_sublist_cache no_sublist_cache", Bool),
    key("accounts", Own),
    key("default_sentinel", Text),
    key("authorization", Own),
    key("http", Listen),
    key("https", Listen),
    key("http_port monitor_port", Int),
    key("https_port", Int),
    key("http_base_path", Text),
    key("cluster", Block(CLUSTER)),
    key("gateway", Block(GATEWAY)),
    key("leaf leafnodes", Block(LEAFNODES)),
    key("store_dir storedir", Text),
    key("jetstream", Own),
    key("logfile log_file", Text),
    key("logfile_size_limit log_size_limit", Int),
    key("logfile_max_num log_max_num", Int),
    key("syslog", Bool),
    key("remote_syslog", Text),
    key("pidfile pid_file", Text),
    key("ports_file_dir", Text),
    key("prof_port", Int),
    key("prof_block_rate", Int),
    key("max_control_line", Int),
    key("max_payload", Int),
    key("max_pending", Int),
    key("proxy_protocol", Bool),
    key("max_connections max_conn", Int),
    key("max_traced_msg_len", Int),
    key("max_subscriptions max_subs", Int),
    key("max_sub_tokens max_subscription_tokens", Int),
    key("ping_interval", Time),
    key("ping_max", Int),
    key("tls", Own),
    key("ocsp", BoolOr(OCSP)),
    key("allow_non_tls", Bool),
    key("write_deadline", Time),
    key("write_timeout", Word(WRITE_TIMEOUT)),
    key("lame_duck_duration", Time),
    key("lame_duck_grace_period", Time),
    key("operator operators roots root root_operators root_operator", Texts),
    key("resolver account_resolver accounts_resolver", Own),
    key("resolver_tls", Own),
    key("resolver_preload", Strings),
    key("resolver_pinned_accounts", Texts),
    key("no_auth_user", Text),
    key("system_account system", Text),
    key("no_system_account no_system no_sys_acc", Bool),
    key("no_header_support", Bool),
    key("trusted trusted_keys", Texts),
    key("connect_error_reports", Int),
    key("reconnect_error_reports", Int),
    key("websocket ws", Block(WEBSOCKET)),
    key("mqtt", Block(MQTT)),
    key("server_tags", Texts),
    key("server_metadata", Strings),
    key("feature_flags", Switches),
    key("default_js_domain", Strings),
    key("ocsp_cache", BoolOr(OCSP_CACHE)),
    key("no_fast_producer_stall", Bool),
    key("max_closed_clients", Int),
    key("proxies", Block(PROXIES)),
];

const WRITE_TIMEOUT: &[&str] = &["default", "close", "retry"];

const OCSP: &[Key] = &[
    key("mode", Word(&["auto", "always", "must", "never"])),
    key("urls", List),
    key("url", Text),
];

const OCSP_PEER: &[Key] = &[
    key("verify", Bool),
    key("ca_timeout", Time),
    key("allowed_clockskew", Time),
    key("warn_only", Bool),
    key("unknown_is_good", Bool),
    key("allow_when_ca_unreachable", Bool),
    key("cache_ttl_when_next_update_unset", Time),
];

const OCSP_CACHE: &[Key] = &[
    key("type", Word(&["local", "none"])),
    key("local_store", Text),
    key("preserve_revoked", Bool),
    key("save_interval", Time),
];

const PROXIES: &[Key] = &[key("trusted", Blocks(&[key("key public_key", Text)]))];

/// `cluster { }`
pub(super) const CLUSTER: &[Key] = &[
    key("name", Name),
    key("listen", Listen),
    key("port", Int),
    key("host net", Text),
    key("authorization", Block(LINK_AUTHORIZATION)),
    key("routes", List),
    key("tls", Block(TLS)),
    key("cluster_advertise advertise", Text),
    key("no_advertise", Bool),
    key("connect_retries", Int),
    key("connect_backoff", Bool),
    key("permissions", Block(LINK_PERMISSIONS)),
    key("pool_size", Int),
    key("accounts", Texts),
    key("compression", Compression),
    key("ping_interval", Time),
    key("ping_max", Int),
    key("write_deadline", Time),
    key("write_timeout", Word(WRITE_TIMEOUT)),
];

/// Who may connect as a server.
const LINK_AUTHORIZATION: &[Key] = &[
    key("user username", Text),
    key("pass password", Text),
    key("timeout", Time),
    key(
        "default_permission default_permissions permissions",
        Block(LINK_PERMISSIONS),
    ),
];

const LINK_PERMISSIONS: &[Key] = &[key("pub publish import", Own), key("sub subscribe export", Own)];

/// `compression { }` of a link between servers.
pub(super) const COMPRESSION: &[Key] = &[key("mode", Text), key("rtt_thresholds thresholds rtts rtt", List)];

/// `gateway { }`
pub(super) const GATEWAY: &[Key] = &[
    key("name", Name),
    key("listen", Listen),
    key("port", Int),
    key("host net", Text),
    key("authorization", Block(LINK_AUTHORIZATION)),
    key("tls", Block(TLS)),
    key("advertise", Text),
    key("connect_retries", Int),
    key("connect_backoff", Bool),
    key(
        "gateways",
        Blocks(&[
            key("name", Text),
            key("tls", Block(TLS)),
            key("url", Text),
            key("urls", List),
        ]),
    ),
    key("reject_unknown reject_unknown_cluster", Bool),
    key("write_deadline", Time),
    key("write_timeout", Word(WRITE_TIMEOUT)),
];

/// `leafnodes { }`
pub(super) const LEAFNODES: &[Key] = &[
    key("listen", Listen),
    key("port", Int),
    key("host net", Text),
    key("authorization", Block(LEAF_AUTHORIZATION)),
    key("remotes", Blocks(REMOTES)),
    key("reconnect reconnect_delay reconnect_interval", Time),
    key("dial_timeout", Time),
    key("tls", Block(TLS)),
    key("leafnode_advertise advertise", Text),
    key("no_advertise", Bool),
    key("min_version minimum_version", Text),
    key("compression", Compression),
    key("isolate_leafnode_interest isolate", Bool),
    key("write_deadline", Time),
    key("write_timeout", Word(WRITE_TIMEOUT)),
];

const LEAF_AUTHORIZATION: &[Key] = &[
    key("user username", Text),
    key("pass password", Text),
    key("nkey", Text),
    key("timeout", Time),
    key(
        "users",
        Blocks(&[
            key("user username", Text),
            key("pass password", Text),
            key("account", Text),
            key("proxy_required", Bool),
        ]),
    ),
    key("account", Text),
    key("proxy_required", Bool),
];

const REMOTES: &[Key] = &[
    key("no_randomize dont_randomize", Bool),
    key("url urls", Texts),
    key("account local", Text),
    key("creds credentials", Text),
    key("nkey seed", Text),
    key("tls", Block(TLS)),
    key("hub", Bool),
    key("deny_imports deny_import", Texts),
    key("deny_exports deny_export", Texts),
    key(
        "ws_compress ws_compression websocket_compress websocket_compression",
        Bool,
    ),
    key("ws_no_masking websocket_no_masking", Bool),
    key(
        "jetstream_cluster_migrate js_cluster_migrate",
        BoolOr(&[key("leader_migrate_delay", Time)]),
    ),
    key("isolate_leafnode_interest isolate", Bool),
    key("request_isolation", Bool),
    key("compression", Compression),
    key("first_info_timeout", Time),
    key("dial_timeout", Time),
    key("disabled", Bool),
    key(
        "proxy",
        Block(&[
            key("url", Text),
            key("username", Text),
            key("password", Text),
            key("timeout", Time),
        ]),
    ),
    key("ignore_discovered_servers", Bool),
];

/// `websocket { }`
pub(super) const WEBSOCKET: &[Key] = &[
    key("listen", Listen),
    key("port", Int),
    key("host net", Text),
    key("advertise", Text),
    key("no_tls", Bool),
    key("tls", Block(TLS)),
    key("same_origin", Bool),
    key(
        "allowed_origins allowed_origin allow_origins allow_origin origins origin",
        Texts,
    ),
    key("handshake_timeout", Time),
    key("compress compression", Bool),
    key("authorization authentication", Block(SIMPLE_AUTHORIZATION)),
    key("jwt_cookie", Text),
    key("user_cookie", Text),
    key("pass_cookie", Text),
    key("token_cookie", Text),
    key("no_auth_user", Text),
    key("headers", Strings),
    key("ping_interval", Time),
];

const SIMPLE_AUTHORIZATION: &[Key] = &[
    key("user username", Text),
    key("pass password", Text),
    key("token", Text),
    key("timeout", Time),
];

/// `mqtt { }`
pub(super) const MQTT: &[Key] = &[
    key("listen", Listen),
    key("port", Int),
    key("host net", Text),
    key("tls", Block(TLS)),
    key("authorization authentication", Block(SIMPLE_AUTHORIZATION)),
    key("no_auth_user", Text),
    key("ack_wait ackwait", Time),
    key("js_api_timeout api_timeout", Time),
    key("max_ack_pending max_pending max_inflight", Range(0, 0xffff)),
    key("js_domain", Text),
    key("stream_replicas", Int),
    key("consumer_replicas", Own),
    key("consumer_memory_storage", Bool),
    key("consumer_inactive_threshold consumer_auto_cleanup", Time),
    key("reject_qos2_publish", Bool),
    key("downgrade_qos2_subscribe", Bool),
];

/// `authorization { }`
pub(super) const AUTHORIZATION: &[Key] = &[
    key("user username", Text),
    key("pass password", Text),
    key("token", Text),
    key("timeout", Time),
    key("users", Own),
    key("default_permission default_permissions permissions", Own),
    key("auth_callout auth_hook", Own),
    key("proxy_required", Bool),
];

/// An entry of `users`.
pub(super) const USER: &[Key] = &[
    key("nkey", Text),
    key("user username", Text),
    key("pass password", Text),
    key("permission permissions authorization", Own),
    key("allowed_connection_types connection_types clients", Texts),
    key("proxy_required", Bool),
];

/// `tls { }`
pub(super) const TLS: &[Key] = &[
    key("cert_file", Text),
    key("key_file", Text),
    key("ca_file", Text),
    key("insecure", Bool),
    key("verify", Bool),
    key("verify_and_map", Bool),
    key("verify_cert_and_check_known_urls", Bool),
    key("allow_insecure_cipher_suites", Bool),
    key("cipher_suites", List),
    key("curve_preferences", List),
    key("timeout", Time),
    key("connection_rate_limit", Int),
    key("pinned_certs", List),
    key("cert_store", Text),
    key("cert_match_by", Text),
    key("cert_match", Text),
    key("ca_certs_match", Texts),
    // true, false, auto, or a duration.
    key("handshake_first first immediate", Own),
    key("cert_match_skip_invalid", Bool),
    key("ocsp_peer", BoolOr(OCSP_PEER)),
    key(
        "certs certificates",
        Blocks(&[key("cert_file", Text), key("key_file", Text)]),
    ),
    key("min_version", Text),
];

/// `jetstream { }`, and Weir's own keys in it.
pub(super) const JETSTREAM: &[Key] = &[
    key("enabled enable", Bool),
    key("disabled disable", Bool),
    key("strict", Bool),
    key("store_dir storedir store", Text),
    // A duration, or `always`.
    key("sync sync_interval", Own),
    key("max_memory_store max_mem_store max_mem", Size),
    key("max_file_store max_file", Size),
    key("domain", Text),
    key("key ek encryption_key", Text),
    key("prev_key prev_ek prev_encryption_key", Text),
    key("cipher", Word(&["chacha", "chachapoly", "aes"])),
    key("extension_hint", Text),
    key("limits", Block(JETSTREAM_LIMITS)),
    key("tpm", Block(TPM)),
    key("unique_tag", Text),
    key("max_outstanding_catchup", Size),
    key("max_buffered_size", Size),
    key("max_buffered_msgs", Int),
    key("request_queue_limit", Int),
    key("info_queue_limit", Int),
    key("meta_compact", Int),
    key("meta_compact_size", Size),
    key("meta_compact_sync", Bool),
    key("max_concurrent_io", Range(4, 8192)),
    key("backend", Text),
    key("durability", Text),
    key("compression", Text),
    key("index", Text),
    key("shards", Int),
    key("scrub", Own),
];

/// `scrub { }`
pub(super) const SCRUB: &[Key] = &[key("cycle", Time), key("rate", Size)];

const TPM: &[Key] = &[
    key("keys_file", Text),
    key("encryption_password", Text),
    key("srk_password", Text),
    key("pcr", Int),
    key("cipher", Word(&["chacha", "chachapoly", "aes"])),
];

const JETSTREAM_LIMITS: &[Key] = &[
    key("max_ack_pending", Int),
    key("max_ha_assets", Int),
    key("default_max_consumers", Int),
    key("max_request_batch", Int),
    key("duplicate_window", Time),
    key(
        "batch",
        Block(&[
            key("max_inflight_per_stream", Int),
            key("max_inflight_total", Int),
            key("max_msgs", Int),
            key("timeout", Time),
        ]),
    ),
];
