use super::super::parse;
use super::digest;

/// What nats-server 2.15.1 says of these.
#[test]
fn the_number_is_that_of_nats_server() {
    for (text, expected) in [
        (
            "port: 4222\nA: 1.5\ndebug: yes\nserver_name: \"a<b>&\\\"c\\\\\\x01\"\n\
             authorization { users: [ {user: a, password: \"p\"}, {user: b, password: q} ], timeout: $A }\nserver_tags: [a, \"b\", 'ü']\n",
            "sha256:8c0d062c81f5336b0cefec7359a6796a9633cf80960952b1f302c8842efda18b",
        ),
        (
            "port: 4222\nT: 1.0\ncluster { name: \"x\\ty\", port: -1, compression { rtts: [ \"1ms\" ] } }\nserver_tags: []\n\
             jetstream { max_mem: 1kb }\nauthorization { timeout: $T }\nserver_name (\nx\n)\n",
            "sha256:e0d7977b63d13f149ed297cced0db25e2bacfaadb26e5a40370c78bd1c96e0df",
        ),
        (
            "authorization { timeout: 0.00000012 }\n",
            "sha256:457900622818e81c565e4fb4a91850e153cffd5585bfdaf2665521370606e306",
        ),
    ] {
        let map = parse(text, "a.conf", &|_| None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(digest(&map), expected, "{text}");
    }
}
