//! What requests look like: every field with its type, as nats-server names it when it finds another.

/// An object: what Go calls it, and its fields.
pub(in crate::jetstream) struct Fields {
    pub name: &'static str,
    fields: &'static [(&'static str, Shape)],
}

impl Fields {
    /// A field by its name, in any case if not in the proper one.
    pub fn find(&self, key: &str) -> Option<&'static (&'static str, Shape)> {
        let fields: &'static [_] = self.fields;
        let exact = fields.iter().find(|(name, _)| *name == key);
        exact.or_else(|| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)))
    }
}

/// The type of a value.
pub(in crate::jetstream) enum Shape {
    Text,
    Flag,
    Int {
        /// What Go calls it.
        go: &'static str,
        min: i64,
        max: i128,
    },
    /// One of some words.
    Choice(&'static Choice),
    /// RFC 3339.
    Time,
    /// An object with texts under any names.
    Texts,
    List(&'static Shape),
    Object(&'static Fields),
    Any,
}

impl Shape {
    /// Whether Go has a pointer, list or map there.
    pub fn is_nullable(&self) -> bool {
        matches!(self, Self::Time | Self::Texts | Self::List(_))
    }

    /// What Go calls the type.
    pub fn go_type(&self) -> String {
        match self {
            Self::Text | Self::Choice(_) => "string".to_owned(),
            Self::Flag => "bool".to_owned(),
            Self::Int { go, .. } => (*go).to_owned(),
            Self::Time => "time.Time".to_owned(),
            Self::Texts => "map[string]string".to_owned(),
            // Of the lists of objects, only this one is of pointers.
            Self::List(Self::Object(fields)) if fields.name == "StreamSource" => "[]*server.StreamSource".to_owned(),
            Self::List(item) => format!("[]{}", item.go_type()),
            Self::Object(fields) => format!("server.{}", fields.name),
            Self::Any => "interface {}".to_owned(),
        }
    }

    /// What an element of a list is that was given as `null`.
    pub fn empty(&self) -> Option<serde_json::Value> {
        match self {
            Self::Text => Some("".into()),
            Self::Flag => Some(false.into()),
            Self::Int { .. } => Some(0.into()),
            Self::Object(_) => Some(serde_json::Map::new().into()),
            _ => None,
        }
    }
}

/// Words to choose from, and which one each stands for.
pub(in crate::jetstream) struct Choice {
    pub words: &'static [(&'static str, &'static str)],
    says: Says,
}

/// How a wrong word is refused.
enum Says {
    Unmarshal,
    Compression,
    Named(&'static str),
}

impl Choice {
    /// The refusal of a value that is not even text, for those that tell it apart; `found` is its kind.
    pub fn mismatch(&self, found: &str) -> Option<String> {
        match self.says {
            Says::Compression => Some(format!("json: cannot unmarshal {found} into Go value of type string")),
            Says::Unmarshal | Says::Named(_) => None,
        }
    }

    /// The refusal of a value, given as JSON text.
    pub fn refusal(&self, raw: &str) -> String {
        match self.says {
            Says::Unmarshal => format!("can not unmarshal {raw:?}"),
            Says::Compression => "unknown compression algorithm".to_owned(),
            Says::Named(what) => format!("unknown {what}: {raw}"),
        }
    }
}

const INT: Shape = Shape::Int {
    go: "int",
    min: i64::MIN,
    max: i64::MAX as i128,
};
const INT32: Shape = Shape::Int {
    go: "int32",
    min: i32::MIN as i64,
    max: i32::MAX as i128,
};
const INT64: Shape = Shape::Int {
    go: "int64",
    min: i64::MIN,
    max: i64::MAX as i128,
};
const UINT64: Shape = Shape::Int {
    go: "uint64",
    min: 0,
    max: u64::MAX as i128,
};
const DURATION: Shape = Shape::Int {
    go: "time.Duration",
    min: i64::MIN,
    max: i64::MAX as i128,
};
const TEXT_LIST: Shape = Shape::List(&Shape::Text);

static RETENTION: Choice = Choice {
    words: &[
        ("limits", "limits"),
        ("interest", "interest"),
        ("workqueue", "workqueue"),
    ],
    says: Says::Unmarshal,
};
static DISCARD: Choice = Choice {
    words: &[("old", "old"), ("new", "new")],
    says: Says::Unmarshal,
};
static STORAGE: Choice = Choice {
    words: &[("file", "file"), ("memory", "memory")],
    says: Says::Unmarshal,
};
static COMPRESSION: Choice = Choice {
    words: &[("none", "none"), ("s2", "s2")],
    says: Says::Compression,
};
static PERSIST: Choice = Choice {
    words: &[("default", "default"), ("async", "async"), ("", "default")],
    says: Says::Unmarshal,
};
static DELIVER: Choice = Choice {
    words: &[
        ("all", "all"),
        ("undefined", "all"),
        ("last", "last"),
        ("last_per_subject", "last_per_subject"),
        ("new", "new"),
        ("by_start_sequence", "by_start_sequence"),
        ("by_start_time", "by_start_time"),
    ],
    says: Says::Unmarshal,
};
static ACK: Choice = Choice {
    words: &[
        ("none", "none"),
        ("all", "all"),
        ("explicit", "explicit"),
        ("flow_control", "flow_control"),
    ],
    says: Says::Unmarshal,
};
static REPLAY: Choice = Choice {
    words: &[("instant", "instant"), ("original", "original")],
    says: Says::Unmarshal,
};
static PRIORITY: Choice = Choice {
    words: &[
        ("none", "none"),
        ("overflow", "overflow"),
        ("pinned_client", "pinned_client"),
        ("prioritized", "prioritized"),
    ],
    says: Says::Named("priority policy"),
};
static ACTION: Choice = Choice {
    words: &[("create", "create"), ("update", "update"), ("", "")],
    says: Says::Named("consumer action"),
};

static PLACEMENT: Fields = Fields {
    name: "Placement",
    fields: &[
        ("cluster", Shape::Text),
        ("tags", TEXT_LIST),
        ("preferred", Shape::Text),
    ],
};
static TRANSFORM: Fields = Fields {
    name: "SubjectTransformConfig",
    fields: &[("src", Shape::Text), ("dest", Shape::Text)],
};
static REPUBLISH: Fields = Fields {
    name: "RePublish",
    fields: &[
        ("src", Shape::Text),
        ("dest", Shape::Text),
        ("headers_only", Shape::Flag),
    ],
};
static EXTERNAL: Fields = Fields {
    name: "ExternalStream",
    fields: &[("api", Shape::Text), ("deliver", Shape::Text)],
};
static SOURCE_CONSUMER: Fields = Fields {
    name: "StreamConsumerSource",
    fields: &[("name", Shape::Text), ("deliver_subject", Shape::Text)],
};
static SOURCE: Fields = Fields {
    name: "StreamSource",
    fields: &[
        ("name", Shape::Text),
        ("opt_start_seq", UINT64),
        ("opt_start_time", Shape::Time),
        ("filter_subject", Shape::Text),
        ("subject_transforms", Shape::List(&Shape::Object(&TRANSFORM))),
        ("external", Shape::Object(&EXTERNAL)),
        ("consumer", Shape::Object(&SOURCE_CONSUMER)),
    ],
};
static CONSUMER_LIMITS: Fields = Fields {
    name: "StreamConsumerLimits",
    fields: &[("inactive_threshold", DURATION), ("max_ack_pending", INT)],
};

/// STREAM.CREATE and STREAM.UPDATE.
pub(super) static STREAM_CONFIG: Fields = Fields {
    name: "StreamConfigRequest",
    fields: &[
        ("name", Shape::Text),
        ("description", Shape::Text),
        ("subjects", TEXT_LIST),
        ("retention", Shape::Choice(&RETENTION)),
        ("max_consumers", INT),
        ("max_msgs", INT64),
        ("max_bytes", INT64),
        ("max_age", DURATION),
        ("max_msgs_per_subject", INT64),
        ("max_msg_size", INT32),
        ("discard", Shape::Choice(&DISCARD)),
        ("storage", Shape::Choice(&STORAGE)),
        ("num_replicas", INT),
        ("no_ack", Shape::Flag),
        ("duplicate_window", DURATION),
        ("placement", Shape::Object(&PLACEMENT)),
        ("mirror", Shape::Object(&SOURCE)),
        ("sources", Shape::List(&Shape::Object(&SOURCE))),
        ("compression", Shape::Choice(&COMPRESSION)),
        ("first_seq", UINT64),
        ("subject_transform", Shape::Object(&TRANSFORM)),
        ("republish", Shape::Object(&REPUBLISH)),
        ("allow_direct", Shape::Flag),
        ("mirror_direct", Shape::Flag),
        ("discard_new_per_subject", Shape::Flag),
        ("sealed", Shape::Flag),
        ("deny_delete", Shape::Flag),
        ("deny_purge", Shape::Flag),
        ("allow_rollup_hdrs", Shape::Flag),
        ("consumer_limits", Shape::Object(&CONSUMER_LIMITS)),
        ("allow_msg_ttl", Shape::Flag),
        ("subject_delete_marker_ttl", DURATION),
        ("allow_msg_counter", Shape::Flag),
        ("allow_atomic", Shape::Flag),
        ("allow_msg_schedules", Shape::Flag),
        ("persist_mode", Shape::Choice(&PERSIST)),
        ("allow_batched", Shape::Flag),
        ("metadata", Shape::Texts),
        ("pedantic", Shape::Flag),
    ],
};

static CONSUMER_CONFIG: Fields = Fields {
    name: "ConsumerConfig",
    fields: &[
        ("durable_name", Shape::Text),
        ("name", Shape::Text),
        ("description", Shape::Text),
        ("deliver_policy", Shape::Choice(&DELIVER)),
        ("opt_start_seq", UINT64),
        ("opt_start_time", Shape::Time),
        ("ack_policy", Shape::Choice(&ACK)),
        ("ack_wait", DURATION),
        ("max_deliver", INT),
        ("backoff", Shape::List(&DURATION)),
        ("filter_subject", Shape::Text),
        ("filter_subjects", TEXT_LIST),
        ("replay_policy", Shape::Choice(&REPLAY)),
        ("rate_limit_bps", UINT64),
        ("sample_freq", Shape::Text),
        ("max_waiting", INT),
        ("max_ack_pending", INT),
        ("flow_control", Shape::Flag),
        ("headers_only", Shape::Flag),
        ("max_batch", INT),
        ("max_expires", DURATION),
        ("max_bytes", INT),
        ("deliver_subject", Shape::Text),
        ("deliver_group", Shape::Text),
        ("idle_heartbeat", DURATION),
        ("inactive_threshold", DURATION),
        ("num_replicas", INT),
        ("mem_storage", Shape::Flag),
        ("direct", Shape::Flag),
        ("sourcing", Shape::Flag),
        ("metadata", Shape::Texts),
        ("pause_until", Shape::Time),
        ("priority_groups", TEXT_LIST),
        ("priority_policy", Shape::Choice(&PRIORITY)),
        ("priority_timeout", DURATION),
    ],
};

/// CONSUMER.CREATE in its three forms.
pub(super) static CONSUMER_CREATE: Fields = Fields {
    name: "CreateConsumerRequest",
    fields: &[
        ("stream_name", Shape::Text),
        ("config", Shape::Object(&CONSUMER_CONFIG)),
        ("action", Shape::Choice(&ACTION)),
        ("pedantic", Shape::Flag),
    ],
};

/// STREAM.INFO.
pub(super) static STREAM_INFO: Fields = Fields {
    name: "JSApiStreamInfoRequest",
    fields: &[
        ("offset", INT),
        ("deleted_details", Shape::Flag),
        ("subjects_filter", Shape::Text),
    ],
};

/// STREAM.NAMES.
pub(super) static STREAM_NAMES: Fields = Fields {
    name: "JSApiStreamNamesRequest",
    fields: &[("offset", INT), ("subject", Shape::Text)],
};

/// STREAM.LIST.
pub(super) static STREAM_LIST: Fields = Fields {
    name: "JSApiStreamListRequest",
    fields: &[("offset", INT), ("subject", Shape::Text)],
};

/// CONSUMER.NAMES and CONSUMER.LIST.
pub(super) static CONSUMER_PAGE: Fields = Fields {
    name: "JSApiConsumersRequest",
    fields: &[("offset", INT)],
};

/// STREAM.PURGE.
pub(super) static PURGE: Fields = Fields {
    name: "JSApiStreamPurgeRequest",
    fields: &[("seq", UINT64), ("filter", Shape::Text), ("keep", UINT64)],
};

/// STREAM.MSG.GET and DIRECT.GET.
pub(super) static MSG_GET: Fields = Fields {
    name: "JSApiMsgGetRequest",
    fields: &[
        ("seq", UINT64),
        ("last_by_subj", Shape::Text),
        ("next_by_subj", Shape::Text),
        ("batch", INT),
        ("max_bytes", INT),
        ("start_time", Shape::Time),
        ("multi_last", TEXT_LIST),
        ("up_to_seq", UINT64),
        ("up_to_time", Shape::Time),
        ("no_hdr", Shape::Flag),
    ],
};

/// STREAM.MSG.DELETE.
pub(super) static MSG_DELETE: Fields = Fields {
    name: "JSApiMsgDeleteRequest",
    fields: &[("seq", UINT64), ("no_erase", Shape::Flag)],
};

/// CONSUMER.PAUSE.
pub(super) static PAUSE: Fields = Fields {
    name: "JSApiConsumerPauseRequest",
    fields: &[("pause_until", Shape::Time)],
};

/// CONSUMER.MSG.NEXT. The request is a nameless pointer to Go.
pub(in crate::jetstream) static PULL: Fields = Fields {
    name: "",
    fields: &[
        ("expires", DURATION),
        ("batch", INT),
        ("max_bytes", INT),
        ("no_wait", Shape::Flag),
        ("idle_heartbeat", DURATION),
        ("group", Shape::Text),
        ("min_pending", INT64),
        ("min_ack_pending", INT64),
        ("id", Shape::Text),
        ("priority", INT),
    ],
};

/// CONSUMER.UNPIN.
pub(super) static UNPIN: Fields = Fields {
    name: "JSApiConsumerUnpinRequest",
    fields: &[("group", Shape::Text)],
};

/// CONSUMER.RESET.
pub(super) static RESET: Fields = Fields {
    name: "JSApiConsumerResetRequest",
    fields: &[("seq", UINT64)],
};

/// STREAM.SNAPSHOT.
pub(super) static SNAPSHOT: Fields = Fields {
    name: "JSApiStreamSnapshotRequest",
    fields: &[
        ("deliver_subject", Shape::Text),
        ("no_consumers", Shape::Flag),
        ("chunk_size", INT),
        ("window_size", INT),
        ("jsck", Shape::Flag),
    ],
};

/// STREAM.RESTORE.
pub(super) static RESTORE: Fields = Fields {
    name: "JSApiStreamRestoreRequest",
    fields: &[("config", Shape::Object(&STREAM_CONFIG)), ("state", Shape::Any)],
};
