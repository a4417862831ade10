use super::*;

fn outcome(messages: u64, seconds: f64) -> Outcome {
    Outcome {
        messages,
        seconds,
        server_cpu_seconds: Some(seconds / 2.0),
        client_cpu_seconds: 0.0,
        latency: None,
        resident_bytes: Some(2 << 20),
        anonymous_bytes: Some(1 << 20),
        peak_bytes: Some(4 << 20),
        connection_bytes: None,
        load_average: None,
    }
}

#[test]
fn every_server_is_first_in_turn() {
    let orders: Vec<Vec<usize>> = (1..=4).map(|round| order(round, 3).collect()).collect();
    assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
}

#[test]
fn the_ratio_is_of_medians_and_of_the_first_server() {
    let runs = |server: &str, seconds: &[f64]| ServerRuns {
        server: server.into(),
        security: None,
        runs: seconds.iter().map(|&s| outcome(1000, s)).collect(),
        failures: Vec::new(),
        figures: BTreeMap::new(),
    };
    let mut report = ScenarioReport {
        scenario: Scenario::Pubsub,
        over: Way::Plain,
        latency_of: None,
        servers: vec![runs("a", &[1.0, 50.0, 1.0]), runs("b", &[2.0, 2.0, 0.1])],
        ratios: Vec::new(),
    };
    summarise(&mut report);
    let ratio = |metric| report.ratios.iter().find(|r| r.metric == metric).unwrap().ratio;
    assert!((ratio(Metric::MessagesPerSecond) - 2.0).abs() < 1e-9);
    assert!((ratio(Metric::MessagesPerServerCpuSecond) - 2.0).abs() < 1e-9);
    assert!((ratio(Metric::ResidentMib) - 1.0).abs() < 1e-9);
    assert!(!report.ratios.iter().any(|r| r.metric == Metric::P50Us));
}
