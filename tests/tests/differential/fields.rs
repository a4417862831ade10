//! What the fields of configurations may be given: values that are right, and values that may be wrong, as JSON text.

const S: i64 = 1_000_000_000;

/// A field, values that it takes, and others.
pub struct Field {
    pub name: &'static str,
    pub fine: Vec<String>,
    pub odd: Vec<String>,
}

fn field(name: &'static str, fine: &[&str], odd: &[&str]) -> Field {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Field {
        name,
        fine: owned(fine),
        odd: owned(odd),
    }
}

/// Values of no field's type, and values of many.
pub const WRONG_TYPES: [&str; 7] = ["null", "true", "7", "\"seven\"", "[]", "{}", "1.5"];

fn flag(name: &'static str) -> Field {
    field(name, &["true", "false"], &[])
}

/// The fields of a stream named `name`, which captures `{prefix}.>`.
pub fn stream(prefix: &str) -> Vec<Field> {
    let quoted = |list: &[&str]| -> Vec<String> { list.iter().map(|text| text.replace('%', prefix)).collect() };
    let with_prefix = |name: &'static str, fine: &[&str], odd: &[&str]| Field {
        name,
        fine: quoted(fine),
        odd: quoted(odd),
    };
    let long = format!("\"{}\"", "d".repeat(4097));
    let large = format!("{{\"k\":\"{}\"}}", "v".repeat(140_000));
    let nanos = |list: &[i64]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let durations = |name, fine: &[i64], odd: &[i64]| Field {
        name,
        fine: nanos(fine),
        odd: nanos(odd),
    };
    vec![
        field("description", &["\"d\"", "\"<é&>\"", "\"\""], &[&long]),
        with_prefix(
            "subjects",
            &["[\"%.>\"]", "[\"%.x\",\"%.y\"]", "[\"%.*\"]", "[\"%.x.>\",\"%.y\"]"],
            &[
                "[]",
                "null",
                "[\"\"]",
                "[\"%..x\"]",
                "[\"%.x\",\"%.x\"]",
                "[\"%.>\",\"%.x\"]",
                "[\">\"]",
                "[\"*\"]",
                "[\"sa.>\"]",
                "[\"$JS.>\"]",
                "[\"$JS.API.X\"]",
                "[\"$SYS.ACCOUNT.>\"]",
                "[\"$SYS.X\"]",
                "[\"$SYS.ACCOUNT.X\"]",
                "[\"% x\"]",
                "[\"$NRG.X\"]",
                "[\"*.>\"]",
                "[\"%.\"]",
                "[null]",
                "[1]",
            ],
        ),
        field(
            "retention",
            &["\"limits\"", "\"interest\"", "\"workqueue\""],
            &["\"x\"", "\"\""],
        ),
        field("max_consumers", &["-1", "0", "1", "3"], &["-2"]),
        field(
            "max_msgs",
            &["-1", "0", "1", "3", "10"],
            &["-2", "9223372036854775807", "9223372036854775808"],
        ),
        field("max_bytes", &["-1", "0", "200", "1000"], &["-2"]),
        durations("max_age", &[0, 3600 * S, 86400 * S], &[-1, 1, 99_999_999]),
        field("max_msgs_per_subject", &["-1", "0", "1", "2"], &["-2"]),
        field(
            "max_msg_size",
            &["-1", "0", "8", "1024"],
            &["-2", "2147483648", "5000000000"],
        ),
        field("discard", &["\"old\"", "\"new\""], &["\"x\""]),
        field("storage", &["\"file\"", "\"memory\""], &["\"x\""]),
        field("num_replicas", &["0", "1"], &["-1", "2", "3", "6"]),
        flag("no_ack"),
        durations(
            "duplicate_window",
            &[0, 120 * S, 3600 * S],
            &[-1, 1, 99_999_999, 90_000 * S],
        ),
        field(
            "placement",
            &["{}", "{\"tags\":[\"t\"]}", "null"],
            &["{\"preferred\":\"p\"}", "{\"cluster\":\"c\"}", "{\"x\":1}"],
        ),
        field(
            "mirror",
            &["null"],
            &[
                "{\"name\":\"\"}",
                "{\"name\":\"N.N\"}",
                "{}",
                "{\"name\":\"NONE\",\"filter_subject\":\"x\",\"subject_transforms\":[{\"src\":\"y\",\"dest\":\"z\"}]}",
                "{\"name\":\"NONE\",\"subject_transforms\":[{\"src\":\"y.*\",\"dest\":\"z.$2\"}]}",
                "{\"name\":\"NONE\",\"subject_transforms\":[{\"src\":\"y\",\"dest\":\"a\"},{\"src\":\"y\",\"dest\":\"b\"}]}",
                "{\"name\":\"NONE\",\"filter_subject\":\"x..y\"}",
            ],
        ),
        field(
            "sources",
            &["null"],
            &[
                "[{\"name\":\"\"}]",
                "[{\"name\":\"NONE\"},{\"name\":\"NONE\"}]",
                "[null]",
                "[{}]",
                "[{\"name\":\"NONE\",\"filter_subject\":\"x\",\"subject_transforms\":[{\"src\":\"y\",\"dest\":\"z\"}]}]",
                "[{\"name\":\"NONE\",\"subject_transforms\":[{\"src\":\"y.*\",\"dest\":\"z.$2\"}]}]",
                "[{\"name\":\"NONE\",\"filter_subject\":\"x..y\"}]",
                "[{\"name\":\"NONE\",\"opt_start_time\":\"yesterday\"}]",
            ],
        ),
        field("compression", &["\"none\"", "\"s2\""], &["\"x\""]),
        field("first_seq", &["0", "1", "10", "1000"], &["-1"]),
        with_prefix(
            "subject_transform",
            &[
                "null",
                "{\"src\":\"%.*\",\"dest\":\"t.%.$1\"}",
                "{\"src\":\"%.x\",\"dest\":\"%.y\"}",
                "{\"src\":\">\",\"dest\":\"t.>\"}",
                "{\"src\":\"%.>\",\"dest\":\"%.>\"}",
                "{\"src\":\"%.*\",\"dest\":\"%.{{partition(3,1)}}.$1\"}",
                "{\"src\":\"%.*\",\"dest\":\"%.{{splitfromleft(1,1)}}.{{left(1,1)}}.{{Right(1, 2)}}\"}",
            ],
            &[
                "{}",
                "{\"src\":\"%..x\",\"dest\":\"y\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.$2\"}",
                "{\"dest\":\"y\"}",
                "{\"src\":\"%.>\",\"dest\":\"y\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.*\"}",
                "{\"src\":\"%.*\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.{{none(1)}}\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.{{left(2,2)}}.{{LEFT(1,2)}}\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.{{wildcard()}}\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.{{wildcard(1,2)}}\"}",
                "{\"src\":\"%.*\",\"dest\":\"y z\"}",
                "{\"src\":\"%.*\",\"dest\":\"y..z\"}",
                "{\"src\":\"\",\"dest\":\"y.>\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.{{split(1)}}\"}",
                "{\"src\":\"%.*\",\"dest\":\"y.{{slicefromleft(x,1)}}\"}",
                "{\"src\":\"%.x\",\"dest\":\"y.$1\"}",
            ],
        ),
        with_prefix(
            "republish",
            &[
                "null",
                "{\"src\":\"%.>\",\"dest\":\"r.%.>\"}",
                "{\"dest\":\"r.%.>\"}",
                "{\"src\":\"%.*\",\"dest\":\"r.%.$1\",\"headers_only\":true}",
            ],
            // Not `{}`: once the stream is updated, nats-server publishes each message to the stream again, without end.
            &[
                "{\"src\":\">\",\"dest\":\">\"}",
                "{\"src\":\"%.>\",\"dest\":\"%.r.>\"}",
                "{\"src\":\"%.>\",\"dest\":\"r\"}",
                "{\"src\":\"%..>\",\"dest\":\"r\"}",
                "{\"src\":\"%.*\"}",
            ],
        ),
        flag("allow_direct"),
        field("mirror_direct", &["false"], &["true"]),
        flag("discard_new_per_subject"),
        field("sealed", &["false"], &["true"]),
        flag("deny_delete"),
        flag("deny_purge"),
        flag("allow_rollup_hdrs"),
        field(
            "consumer_limits",
            &[
                "{}",
                "null",
                "{\"max_ack_pending\":50}",
                "{\"inactive_threshold\":600000000000,\"max_ack_pending\":10}",
            ],
            &[
                "{\"max_ack_pending\":-1}",
                "{\"inactive_threshold\":-1}",
                "{\"x\":1}",
                "{\"max_ack_pending\":-2}",
            ],
        ),
        flag("allow_msg_ttl"),
        durations("subject_delete_marker_ttl", &[0, 3600 * S], &[1, -1, S - 1]),
        flag("allow_msg_counter"),
        flag("allow_atomic"),
        flag("allow_msg_schedules"),
        field("persist_mode", &["\"default\"", "\"\""], &["\"async\"", "\"x\""]),
        flag("allow_batched"),
        field(
            "metadata",
            &["null", "{}", "{\"a\":\"b\"}", "{\"_nats.req.level\":\"0\",\"a\":\"\"}"],
            &[
                &large,
                "{\"a\":1}",
                "{\"_nats.req.level\":\"9\"}",
                "{\"_nats.ver\":\"1\",\"_nats.foo\":\"x\"}",
                "{\"a\":null}",
            ],
        ),
    ]
}

/// The fields of a consumer of a stream that captures `{prefix}.>`, without its names.
pub fn consumer(prefix: &str) -> Vec<Field> {
    let with_prefix = |name: &'static str, fine: &[&str], odd: &[&str]| {
        let replaced = |list: &[&str]| list.iter().map(|text| text.replace('%', prefix)).collect();
        Field {
            name,
            fine: replaced(fine),
            odd: replaced(odd),
        }
    };
    let long = format!("\"{}\"", "d".repeat(4097));
    let large = format!("{{\"k\":\"{}\"}}", "v".repeat(140_000));
    vec![
        field("description", &["\"d\"", "\"\""], &[&long]),
        field(
            "deliver_policy",
            &[
                "\"all\"",
                "\"last\"",
                "\"new\"",
                "\"last_per_subject\"",
                "\"by_start_sequence\"",
                "\"by_start_time\"",
            ],
            &["\"x\"", "\"undefined\"", "\"\""],
        ),
        field("opt_start_seq", &["0", "1", "3"], &["-1"]),
        field(
            "opt_start_time",
            &["null", "\"2020-01-01T00:00:00Z\""],
            &["\"x\"", "\"0001-01-01T00:00:00Z\"", "5"],
        ),
        field(
            "ack_policy",
            &["\"explicit\"", "\"all\"", "\"none\""],
            &["\"x\"", "\"flow_control\"", "\"\""],
        ),
        field("ack_wait", &["0", "60000000000", "3600000000000"], &["-1"]),
        field("max_deliver", &["-1", "0", "1", "5"], &["-2"]),
        field(
            "backoff",
            &["null", "[]", "[60000000000,120000000000]"],
            &["[-1]", "[\"x\"]"],
        ),
        with_prefix(
            "filter_subject",
            &["\"\"", "\"%.x\"", "\"%.*\"", "\"%.>\""],
            &["\">\"", "\"zz\"", "\"%..x\"", "\"%.x.\"", "\"% x\""],
        ),
        with_prefix(
            "filter_subjects",
            &["null", "[]", "[\"%.x\"]", "[\"%.x\",\"%.y\"]"],
            &[
                "[\"\"]",
                "[\"%.x\",\"%.x\"]",
                "[\"%.x\",\"%.*\"]",
                "[\"zz\"]",
                "[\"%..x\"]",
            ],
        ),
        field("replay_policy", &["\"instant\""], &["\"original\"", "\"x\""]),
        field("rate_limit_bps", &["0"], &["1000", "-1"]),
        field(
            "sample_freq",
            &["\"\"", "\"50\"", "\"100%\""],
            &["\"x\"", "\"-1\"", "\"101\"", "\"%\""],
        ),
        field("max_waiting", &["0", "1", "5", "512"], &["-1"]),
        field("max_ack_pending", &["0", "1", "5", "-1", "1000"], &["-2"]),
        field("flow_control", &["false"], &["true"]),
        flag("headers_only"),
        field("max_batch", &["0", "1", "5"], &["-1"]),
        field("max_expires", &["0", "60000000000"], &["1", "-1"]),
        field("max_bytes", &["0", "100", "10000"], &["-1"]),
        with_prefix(
            "deliver_subject",
            &["\"\""],
            &["\"dlv.%\"", "\"%.x\"", "\"dlv.*\"", "\"dlv..x\"", "\"dlv x\""],
        ),
        field("deliver_group", &["\"\""], &["\"g\""]),
        field("idle_heartbeat", &["0"], &["5000000000", "1", "-1"]),
        field("inactive_threshold", &["0", "3600000000000"], &["-1"]),
        field("num_replicas", &["0", "1"], &["-1", "2"]),
        flag("mem_storage"),
        field("direct", &["false"], &["true"]),
        field("sourcing", &["false"], &["true"]),
        field(
            "metadata",
            &["null", "{}", "{\"a\":\"b\"}"],
            &[&large, "{\"a\":1}", "{\"_nats.req.level\":\"3\"}"],
        ),
        field(
            "pause_until",
            &["null", "\"2100-01-01T00:00:00Z\"", "\"2020-01-01T00:00:00Z\""],
            &["\"x\"", "5"],
        ),
        field(
            "priority_groups",
            &["null", "[]", "[\"g\"]"],
            &["[\"\"]", "[\"g\",\"h\"]", "[\"seventeen-letters\"]", "[\"g h\"]"],
        ),
        field(
            "priority_policy",
            &["\"none\"", "\"overflow\"", "\"prioritized\""],
            &["\"x\"", "\"\"", "\"pinned_client\""],
        ),
        field("priority_timeout", &["0"], &["60000000000", "-1"]),
    ]
}
