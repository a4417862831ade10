use super::*;

fn mapping(source: &str, destinations: &[(&str, u8, &str)]) -> Mapping {
    Mapping {
        source: source.to_owned(),
        destinations: destinations
            .iter()
            .map(|&(subject, weight, cluster)| Destination {
                subject: subject.to_owned(),
                weight,
                cluster: cluster.to_owned(),
            })
            .collect(),
    }
}

fn maps(mappings: &[Mapping], cluster: &str, subject: &str, percent: u64) -> Option<String> {
    let made = Mappings::new(mappings, cluster).unwrap();
    let new = made.map(subject.as_bytes(), percent)?;
    Some(String::from_utf8(new).unwrap())
}

#[test]
fn one_subject_becomes_another() {
    let all = [
        mapping("a", &[("b", 100, "")]),
        mapping("c.*.*", &[("d.$2.{{wildcard(1)}}", 100, "")]),
    ];
    assert_eq!(maps(&all, "", "a", 99).as_deref(), Some("b"));
    assert_eq!(maps(&all, "", "c.1.2", 0).as_deref(), Some("d.2.1"));
    assert_eq!(maps(&all, "", "c.1", 0), None);
}

#[test]
fn weights_share_what_is_published() {
    let all = [mapping("a.*", &[("b.$1", 30, ""), ("c.$1", 60, "")])];
    let count = |new: &str| {
        let hits = (0..100).filter(|&percent| maps(&all, "", "a.x", percent).as_deref() == Some(new));
        hits.count()
    };
    // What is missing of a hundred keeps its subject.
    assert_eq!((count("b.x"), count("c.x"), count("a.x")), (30, 60, 10));
    let lossy = [mapping("a", &[("a", 80, "")])];
    assert_eq!(maps(&lossy, "", "a", 79).as_deref(), Some("a"));
    assert_eq!(maps(&lossy, "", "a", 80).as_deref(), Some(""));
}

#[test]
fn a_cluster_has_destinations_of_its_own() {
    let all = [mapping("a", &[("b", 100, "east"), ("c", 100, "")])];
    assert_eq!(maps(&all, "east", "a", 0).as_deref(), Some("b"));
    assert_eq!(maps(&all, "west", "a", 0).as_deref(), Some("c"));
    let only = [mapping("a", &[("b", 100, "east")])];
    assert_eq!(maps(&only, "", "a", 0).as_deref(), Some("a"));
}

#[test]
fn what_is_wrong_is_said() {
    let wrong = |mapping: Mapping| Mappings::new(&[mapping], "").unwrap_err().1;
    assert_eq!(
        wrong(mapping("a", &[("b", 60, ""), ("c", 50, "")])),
        "total weight needs to be <= 100"
    );
    assert_eq!(
        wrong(mapping("a", &[("b", 10, ""), ("b", 10, "")])),
        "duplicate entry for \"b\""
    );
    assert_eq!(
        wrong(mapping("a.*", &[("b.$2", 100, "")])),
        "invalid mapping destination: wildcard index out of range in $2: [2]"
    );
}
