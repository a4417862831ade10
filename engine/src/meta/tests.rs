use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::store::Capacity;
use crate::stream::StreamSource;

/// A stream that is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Paper {
    id: StreamId,
    account: Arc<str>,
    name: Arc<str>,
    config: StreamConfig,
}

impl Placed for Paper {
    fn id(&self) -> StreamId {
        self.id
    }

    fn account(&self) -> &Arc<str> {
        &self.account
    }

    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn config(&self) -> &StreamConfig {
        &self.config
    }
}

fn config(name: &str, subjects: &[&str]) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: subjects.iter().map(ToString::to_string).collect(),
        ..StreamConfig::default()
    }
}

fn paper(id: u64, config: &StreamConfig) -> Paper {
    Paper {
        id: StreamId(id),
        account: "A".into(),
        name: config.name.as_str().into(),
        config: config.clone(),
    }
}

fn assign(meta: &mut Meta<Paper>, config: &StreamConfig) -> Outcome<Paper> {
    let limits = &Limits::default();
    let account = "A";
    meta.apply(Command::Assign {
        account,
        config,
        limits,
    })
}

fn begun(outcome: Outcome<Paper>) -> ChangeId {
    match outcome {
        Outcome::Begun { change, .. } => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_comes_second_for_a_name_waits_for_the_first_and_finds_what_that_left() {
    let mut meta = Meta::default();
    let first = config("S", &["s"]);
    let change = begun(assign(&mut meta, &first));
    assert_eq!(assign(&mut meta, &first), Outcome::Wait(change));
    assert_eq!(assign(&mut meta, &config("S", &["other"])), Outcome::Wait(change));
    let there = paper(1, &first);
    meta.apply(Command::Place(there.clone()));
    assert_eq!(assign(&mut meta, &first), Outcome::Wait(change));
    meta.apply(Command::Settle(change));
    assert_eq!(assign(&mut meta, &first), Outcome::Exists(there));
    let other = assign(&mut meta, &config("S", &["other"]));
    assert_eq!(other, Outcome::Refused(Refusal::Name));
}

#[test]
fn what_came_to_nothing_is_free_again() {
    let mut meta = Meta::default();
    let change = begun(assign(&mut meta, &config("S", &["s.>"])));
    let second = config("T", &["s.*.t"]);
    assert_eq!(assign(&mut meta, &second), Outcome::Wait(change));
    assert_eq!(meta.overlapping("A", "T", &second.subjects).as_deref(), Some("S"));
    meta.apply(Command::Settle(change));
    let change = begun(assign(&mut meta, &second));
    // A change that is over is over.
    meta.apply(Command::Settle(ChangeId(1)));
    assert!(meta.is_under_way(change));
    meta.apply(Command::Settle(change));
    assert!(meta.accounts.is_empty() && meta.under_way.is_empty(), "{meta:?}");
}

#[test]
fn a_stream_that_changes_has_both_its_old_subjects_and_its_new_ones_until_that_is_over() {
    let mut meta = Meta::default();
    let (old, new) = (config("S", &["old"]), config("S", &["new"]));
    meta.apply(Command::Place(paper(1, &old)));
    let change = begun(meta.apply(Command::Update {
        account: "A",
        was: &old,
        config: &new,
        limits: &Limits::default(),
    }));
    for placed in [&old, &new] {
        meta.apply(Command::Place(paper(1, placed)));
        assert_eq!(assign(&mut meta, &config("N", &["new"])), Outcome::Wait(change));
    }
    meta.apply(Command::Settle(change));
    let refusal = Refusal::Subjects("S".into());
    assert_eq!(assign(&mut meta, &config("N", &["new"])), Outcome::Refused(refusal));
    begun(assign(&mut meta, &config("O", &["old"])));
    let late = meta.apply(Command::Update {
        account: "A",
        was: &old,
        config: &new,
        limits: &Limits::default(),
    });
    assert_eq!(late, Outcome::Changed);
}

#[test]
fn streams_that_are_copied_into_come_one_after_the_other() {
    let mut meta = Meta::default();
    let copy = |name: &str, origin: &str| StreamConfig {
        sources: vec![StreamSource {
            name: origin.into(),
            ..StreamSource::default()
        }],
        ..config(name, &[])
    };
    let change = begun(assign(&mut meta, &copy("S", "T")));
    assert_eq!(assign(&mut meta, &copy("T", "S")), Outcome::Wait(change));
    begun(assign(&mut meta, &config("U", &["u"])));
}

/// What a test does.
#[derive(Clone, Debug)]
enum Step {
    Assign(bool, StreamConfig),
    Update(bool, StreamConfig, bool),
    Remove(bool, &'static str),
    /// Carries out one of the changes, or begins to.
    Land(usize),
    Settle(usize),
    /// A stream is told as it is: it was opened anew.
    Tell(usize),
}

fn any_config() -> impl Strategy<Value = StreamConfig> {
    let token = prop::sample::select(vec!["a", "b", "*"]);
    let subject = (vec(token, 1..4), any::<bool>()).prop_map(|(tokens, rest)| {
        let mut subject = tokens.join(".");
        if rest {
            subject.push_str(".>");
        }
        subject
    });
    let name = prop::sample::select(vec!["R", "S", "T", "U", "V"]);
    (name, vec(subject, 0..3), -1..5_i64, any::<bool>(), 0..8).prop_map(|(name, subjects, bytes, memory, origin)| {
        StreamConfig {
            name: name.into(),
            subjects,
            max_bytes: bytes,
            storage: if memory { Storage::Memory } else { Storage::File },
            mirror: (origin == 0).then(StreamSource::default),
            ..StreamConfig::default()
        }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any_config()).prop_map(|(of, config)| Step::Assign(of, config)),
        2 => (any::<bool>(), any_config(), any::<bool>()).prop_map(|(of, config, old)| Step::Update(of, config, old)),
        1 => (any::<bool>(), prop::sample::select(vec!["R", "S", "T"])).prop_map(|(of, name)| Step::Remove(of, name)),
        3 => any::<usize>().prop_map(Step::Land),
        3 => any::<usize>().prop_map(Step::Settle),
        1 => any::<usize>().prop_map(Step::Tell),
    ]
}

/// What there is, written down as plainly as can be.
#[derive(Debug, Default)]
struct Model {
    streams: Vec<Paper>,
    /// Account, name, and what the stream is to be.
    changes: Vec<(ChangeId, &'static str, String, Option<StreamConfig>)>,
    ids: u64,
}

const ACCOUNTS: [&str; 2] = ["A", "B"];

/// Account B may have less than all together.
fn limits(account: &str) -> Limits {
    let account = match account {
        "A" => AccountLimits::default(),
        _ => AccountLimits {
            streams: Some(3),
            file: Some(6),
            memory_stream: Some(3),
            ..AccountLimits::default()
        },
    };
    let capacity = Capacity { memory: 7, file: 9 };
    Limits { capacity, account }
}

fn overlap(one: &StreamConfig, other: &StreamConfig) -> bool {
    let mut pairs = one
        .subjects
        .iter()
        .flat_map(|a| other.subjects.iter().map(move |b| (a, b)));
    pairs.any(|(a, b)| weir_subject::overlaps(a.as_bytes(), b.as_bytes()))
}

impl Model {
    fn get(&self, account: &str, name: &str) -> Option<&Paper> {
        self.streams
            .iter()
            .find(|of| &*of.account == account && &*of.name == name)
    }

    fn change_of(&self, account: &str, name: &str) -> Option<&(ChangeId, &'static str, String, Option<StreamConfig>)> {
        self.changes
            .iter()
            .find(|(_, of, changing, _)| *of == account && changing == name)
    }

    /// Account, name, and all that each stream may be: what it is now, and what it may become; none where it may be gone.
    fn possible(&self) -> Vec<(String, String, Vec<Option<StreamConfig>>)> {
        let there = self
            .streams
            .iter()
            .map(|of| (of.account.to_string(), of.name.to_string()));
        let changing = self
            .changes
            .iter()
            .map(|(_, account, name, _)| (account.to_string(), name.clone()));
        let all: BTreeSet<(String, String)> = there.chain(changing).collect();
        let all = all.into_iter().map(|(account, name)| {
            let is = self.get(&account, &name).map(|of| of.config.clone());
            let becomes = self.change_of(&account, &name).map(|(.., to)| to.clone());
            (account, name, [Some(is), becomes].into_iter().flatten().collect())
        });
        all.collect()
    }

    /// What the rules would say if each stream were the one of its possibilities that says least against it, or most.
    fn refusal(&self, account: &str, config: &StreamConfig, update: bool, most: bool) -> Option<Refusal> {
        let others = self.possible();
        let others = others
            .iter()
            .filter(|(of, name, _)| (of.as_str(), name) != (account, &config.name));
        let bytes = |config: &StreamConfig| config.max_bytes.max(0) as u64;
        let own = self.get(account, &config.name).map_or(0, |of| bytes(&of.config));
        let (mut all, mut of_account, mut streams, mut overlapping) = (0, 0, 0, None);
        for (of, name, possible) in others {
            let changing = possible.len() > 1;
            let promised = possible.iter().map(|is| {
                let is = is.as_ref().filter(|is| is.storage == config.storage);
                is.map_or(0, bytes)
            });
            // What changes says nothing for certain.
            let promised = match most {
                true => promised.max().unwrap_or(0),
                false if changing => 0,
                false => promised.max().unwrap_or(0),
            };
            all += promised;
            if of != account {
                continue;
            }
            of_account += promised;
            streams += u64::from(match most {
                true => possible.iter().any(Option::is_some),
                false => !changing,
            });
            let meets = possible.iter().flatten().any(|is| overlap(is, config));
            if meets && (most || !changing) && overlapping.is_none() {
                overlapping = Some(Refusal::Subjects(name.as_str().into()));
            }
        }
        let limits = limits(account);
        let (limit, one) = match config.storage {
            Storage::File => (limits.account.file, limits.account.file_stream),
            Storage::Memory => (limits.account.memory, limits.account.memory_stream),
        };
        let more = bytes(config) > own;
        if more && all + bytes(config).max(own) > limits.capacity.of(config.storage) {
            return Some(Refusal::Room(config.storage));
        }
        if !update && limits.account.streams.is_some_and(|most| streams >= most) {
            return Some(Refusal::Streams);
        }
        if one.is_some_and(|one| bytes(config) > one) {
            return Some(Refusal::StreamBytes);
        }
        if more && limit.is_some_and(|limit| of_account + bytes(config) > limit) {
            return Some(Refusal::Room(config.storage));
        }
        overlapping
    }

    /// Whatever becomes of the changes, all rules are kept.
    fn check(&self) {
        let all = self.possible();
        for (n, (account, name, possible)) in all.iter().enumerate() {
            for (other, another, others) in &all[n + 1..] {
                if account != other {
                    continue;
                }
                for one in possible.iter().flatten() {
                    let meets = others.iter().flatten().any(|config| overlap(one, config));
                    assert!(!meets, "{name} and {another} of {account}: {self:#?}");
                }
            }
        }
        for storage in [Storage::File, Storage::Memory] {
            let sum = |of: Option<&str>| -> i64 {
                let own = all.iter().filter(|(account, ..)| of.is_none_or(|of| of == account));
                let most = own.map(|(.., possible)| {
                    let configs = possible.iter().flatten().filter(|config| config.storage == storage);
                    configs.map(|config| config.max_bytes.max(0)).max().unwrap_or(0)
                });
                most.sum()
            };
            assert!(sum(None) as u64 <= limits("A").capacity.of(storage), "{self:#?}");
            assert!(storage == Storage::Memory || sum(Some("B")) <= 6, "{self:#?}");
        }
        let of_b = all.iter().filter(|(account, ..)| account == "B");
        let of_b = of_b.filter(|(.., possible)| possible.iter().any(Option::is_some));
        assert!(of_b.count() <= 3, "{self:#?}");
    }

    fn expect(&self, account: &'static str, config: &StreamConfig, update: bool, got: &Outcome<Paper>) {
        if let Some(refusal) = self.refusal(account, config, update, false) {
            return assert_eq!(*got, Outcome::Refused(refusal), "{self:#?}");
        }
        let copying = self
            .changes
            .iter()
            .any(|(_, of, _, to)| *of == account && to.as_ref().is_some_and(copies));
        let waits = self.refusal(account, config, update, true).is_some() || copies(config) && copying;
        match got {
            Outcome::Wait(change) => assert!(waits && self.changes.iter().any(|(of, ..)| of == change), "{self:#?}"),
            Outcome::Begun { was, .. } => {
                assert!(!waits, "{self:#?}");
                assert_eq!(was.as_ref(), self.get(account, &config.name));
            }
            other => panic!("{other:?}: {self:#?}"),
        }
    }

    fn step(&mut self, meta: &mut Meta<Paper>, step: &Step) {
        let account = |second: bool| ACCOUNTS[usize::from(second)];
        let (account, name, wanted) = match step {
            Step::Assign(second, config) | Step::Update(second, config, _) => {
                (account(*second), config.name.as_str(), Some(config))
            }
            Step::Remove(second, name) => (account(*second), *name, None),
            Step::Land(n) => return self.land(meta, *n),
            Step::Settle(n) => {
                if !self.changes.is_empty() {
                    let (change, ..) = self.changes.remove(n % self.changes.len());
                    meta.apply(Command::Settle(change));
                }
                return;
            }
            Step::Tell(n) => {
                if !self.streams.is_empty() {
                    let stream = self.streams[n % self.streams.len()].clone();
                    let told = meta.apply(Command::Place(stream.clone()));
                    assert_eq!(told, Outcome::Told(Some(stream)));
                }
                return;
            }
        };
        let there = self.get(account, name).cloned();
        // Storage stays as it is when a stream is updated.
        let updated = wanted.zip(there.as_ref()).map(|(config, there)| StreamConfig {
            storage: there.config.storage,
            ..config.clone()
        });
        let limits = &limits(account);
        let outcome = match step {
            Step::Update(_, config, old) => {
                let stale = StreamConfig::default();
                let was = there.as_ref().filter(|_| !old).map_or(&stale, |there| &there.config);
                let config = updated.as_ref().unwrap_or(config);
                meta.apply(Command::Update {
                    account,
                    was,
                    config,
                    limits,
                })
            }
            Step::Assign(_, config) => meta.apply(Command::Assign {
                account,
                config,
                limits,
            }),
            _ => meta.apply(Command::Remove { account, name }),
        };
        if let Some((change, ..)) = self.change_of(account, name) {
            assert_eq!(outcome, Outcome::Wait(*change));
            return;
        }
        let to = match (step, there) {
            (Step::Assign(_, config), Some(there)) => {
                let expected = match there.config == *config {
                    true => Outcome::Exists(there),
                    false => Outcome::Refused(Refusal::Name),
                };
                return assert_eq!(outcome, expected);
            }
            (Step::Assign(_, config), None) => {
                self.expect(account, config, false, &outcome);
                Some(config.clone())
            }
            (_, None) => return assert_eq!(outcome, Outcome::Missing),
            (Step::Update(_, _, true), Some(_)) => return assert_eq!(outcome, Outcome::Changed),
            (Step::Update(..), Some(_)) => {
                let config = updated.expect("it is there");
                self.expect(account, &config, true, &outcome);
                Some(config)
            }
            (_, Some(there)) => {
                assert!(matches!(&outcome, Outcome::Begun { was, .. } if was.as_ref() == Some(&there)));
                None
            }
        };
        if let Outcome::Begun { change, .. } = outcome {
            self.changes.push((change, account, name.to_owned(), to));
        }
    }

    fn land(&mut self, meta: &mut Meta<Paper>, n: usize) {
        if self.changes.is_empty() {
            return;
        }
        let (_, account, name, to) = self.changes[n % self.changes.len()].clone();
        let at = self
            .streams
            .iter()
            .position(|of| &*of.account == account && *of.name == *name);
        let before = at.map(|at| self.streams.remove(at));
        match to {
            Some(config) => {
                self.ids += 1;
                let stream = Paper {
                    id: before.as_ref().map_or(StreamId(self.ids), |before| before.id),
                    account: account.into(),
                    name: name.as_str().into(),
                    config,
                };
                self.streams.push(stream.clone());
                assert_eq!(meta.apply(Command::Place(stream)), Outcome::Told(before));
            }
            None => {
                let Some(before) = before else { return };
                let (name, other) = (name.as_str(), StreamId(before.id.0 + 1_000_000));
                let id = other;
                assert_eq!(meta.apply(Command::Gone { account, name, id }), Outcome::Told(None));
                let id = before.id;
                let gone = meta.apply(Command::Gone { account, name, id });
                assert_eq!(gone, Outcome::Told(Some(before)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Creations, updates and deletions come, are carried out or not, and end, each at its time; a model that is written down as
    /// plainly as can be says what each is to be told, and that whatever becomes of those under way keeps all rules.
    #[test]
    fn is_what_a_plain_model_is(steps in vec(any_step(), 1..120)) {
        let (mut meta, mut model) = (Meta::default(), Model::default());
        for step in &steps {
            model.step(&mut meta, step);
            model.check();
            for account in ACCOUNTS {
                let mut own: Vec<_> = model.streams.iter().filter(|of| &*of.account == account).collect();
                own.sort_by(|a, b| a.name.cmp(&b.name));
                prop_assert_eq!(meta.list(account).collect::<Vec<_>>(), own);
            }
        }
        for (change, ..) in model.changes.drain(..) {
            meta.apply(Command::Settle(change));
        }
        for stream in model.streams.drain(..) {
            let (account, name, id) = (&*stream.account, &*stream.name, stream.id);
            meta.apply(Command::Gone { account, name, id });
        }
        // Nothing of it is left anywhere.
        prop_assert!(meta.accounts.is_empty() && meta.under_way.is_empty());
        prop_assert_eq!(meta.promised, Promised::default());
    }
}
