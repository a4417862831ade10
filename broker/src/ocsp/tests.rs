#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_ocsp::OcspResponseStatus;

use super::answer::{Answer, Status};
use super::known::{Known, Said as Remembered};
use super::peers::links;
use super::staples::{Rule, due, pause};
use super::subject::{Subject, must_staple};
use super::*;
use crate::conf::options::{Ocsp, OcspMode, OcspPeer};
use crate::limits::{OCSP_KNOWN_MAX, OCSP_SIGNERS_MAX};

#[path = "../../tests/support/answers.rs"]
mod answers;

use answers::{Ca, Made, Said, Saying, answer, asked, number, refusal};

/// When all of it happens.
const NOW: i64 = 1_790_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn at(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.checked_add(seconds).unwrap().unsigned_abs())
}

fn said(status: Saying) -> Said {
    Said::until(status, at(0), Duration::from_secs(3600))
}

fn subject(ca: &Ca, own: &Made) -> Subject {
    Subject::of(&[own.der.clone(), ca.der.clone()], Vec::new).unwrap()
}

fn read(raw: Vec<u8>, about: &Subject) -> Result<(Status, Option<Timestamp>), String> {
    Answer::read(raw, about, now()).map(|answer| (answer.status, answer.next_update))
}

#[test]
fn an_answer_counts_by_the_issuer_and_by_whom_that_has_left_it_to() {
    let ca = Ca::new();
    let own = ca.server(&[], true);
    let about = subject(&ca, &own);
    let hour = Some(Timestamp::from_second(NOW + 3600).unwrap());
    for (saying, status) in [
        (Saying::Good, Status::Good),
        (Saying::Revoked, Status::Revoked),
        (Saying::Unknown, Status::Unknown),
    ] {
        let raw = ca.answer(ca.id(&own.der), &said(saying));
        assert_eq!(read(raw, &about), Ok((status, hour)));
    }
    let delegate = ca.delegate(true, |_| {});
    let other = ca.delegate(false, |_| {});
    let signed = |by: &Made, with: &[&CertificateDer<'_>]| {
        read(
            answer(vec![(ca.id(&own.der), said(Saying::Good))], &by.key, with),
            &about,
        )
    };
    assert_eq!(signed(&delegate, &[&delegate.der]), Ok((Status::Good, hour)));
    // Among others, too.
    assert_eq!(
        signed(&delegate, &[&ca.der, &other.der, &delegate.der]),
        Ok((Status::Good, hour))
    );
}

#[test]
fn an_answer_that_nobody_signed_who_may_is_none() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let own = ca.server(&[], true);
    let about = subject(&ca, &own);
    let delegate = ca.delegate(true, |_| {});
    let nobodys = stranger.delegate(true, |_| {});
    let without = ca.delegate(false, |_| {});
    let old = ca.delegate(true, |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let authority = ca.delegate(true, |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let good = |by: &rcgen::KeyPair, with: &[&CertificateDer<'_>]| {
        read(answer(vec![(ca.id(&own.der), said(Saying::Good))], by, with), &about)
    };
    let many = vec![&without.der; OCSP_SIGNERS_MAX];
    let too_far: Vec<_> = many.into_iter().chain([&delegate.der]).collect();
    for (what, outcome) in [
        ("another authority", good(stranger.issuer.key(), &[])),
        (
            "another authority, shown",
            good(stranger.issuer.key(), &[&stranger.der]),
        ),
        ("a delegate that is not shown", good(&delegate.key, &[])),
        ("one that another authority made", good(&nobodys.key, &[&nobodys.der])),
        ("one that may not", good(&without.key, &[&without.der])),
        ("one of long ago", good(&old.key, &[&old.der])),
        ("one that is an authority", good(&authority.key, &[&authority.der])),
        ("the certificate itself", good(&own.key, &[&own.der])),
        ("one behind too many", good(&delegate.key, &too_far)),
    ] {
        assert_eq!(
            outcome,
            Err("ocsp: nobody has signed the answer who may".to_owned()),
            "{what}"
        );
    }
}

#[test]
fn an_answer_about_another_certificate_is_none() {
    let ca = Ca::new();
    let [own, other] = [ca.server(&[], true), ca.server(&[], true)];
    let about = subject(&ca, &own);
    let id = ca.id(&own.der);
    let changed = |change: &dyn Fn(&mut x509_ocsp::CertId)| {
        let mut id = id.clone();
        change(&mut id);
        read(ca.answer(id, &said(Saying::Good)), &about)
    };
    let another = Err("ocsp: the answer is about another certificate".to_owned());
    assert_eq!(changed(&|id| id.serial_number = number(&other.der)), another);
    let none = || OctetString::new(vec![7; 20]).unwrap();
    assert_eq!(changed(&|id| id.issuer_name_hash = none()), another);
    assert_eq!(changed(&|id| id.issuer_key_hash = none()), another);
    let sha384 = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
    assert_eq!(changed(&|id| id.hash_algorithm.oid = sha384), another);
    let sha256 = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
    assert_eq!(changed(&|id| id.hash_algorithm.oid = sha256), another);
    assert_eq!(read(answer(Vec::new(), ca.issuer.key(), &[]), &about), another);
    // Of several it is the one that is about it.
    let both = vec![
        (ca.id(&other.der), said(Saying::Revoked)),
        (id.clone(), said(Saying::Good)),
    ];
    assert_eq!(
        read(answer(both, ca.issuer.key(), &[]), &about).unwrap().0,
        Status::Good
    );
}

#[test]
fn an_answer_counts_in_its_time() {
    let ca = Ca::new();
    let own = ca.server(&[], true);
    let about = subject(&ca, &own);
    let during = |from: i64, until: Option<i64>| {
        let said = Said {
            status: Saying::Good,
            this_update: at(from),
            next_update: until.map(at),
        };
        read(ca.answer(ca.id(&own.der), &said), &about).map(|_| ())
    };
    for (from, until) in [
        (-10, Some(10)),
        (-10, None),
        (0, Some(0)),
        (30, Some(60)),
        (-1_000_000, Some(0)),
    ] {
        assert_eq!(during(from, until), Ok(()), "{from} {until:?}");
    }
    assert!(
        during(-10, Some(-1))
            .unwrap_err()
            .starts_with("invalid ocsp NextUpdate, is past time: 2026-")
    );
    assert!(
        during(31, Some(60))
            .unwrap_err()
            .starts_with("invalid ocsp ThisUpdate, is future time: 2026-")
    );
    assert!(during(31, None).unwrap_err().starts_with("invalid ocsp ThisUpdate"));
}

#[test]
fn what_is_no_answer_says_what_it_is() {
    let ca = Ca::new();
    let own = ca.server(&[], true);
    let about = subject(&ca, &own);
    for (status, told) in [
        (OcspResponseStatus::MalformedRequest, "malformed"),
        (OcspResponseStatus::InternalError, "internal error"),
        (OcspResponseStatus::TryLater, "try later"),
        (OcspResponseStatus::SigRequired, "signature required"),
        (OcspResponseStatus::Unauthorized, "unauthorized"),
    ] {
        let expected = Err(format!("ocsp: error from server: {told}"));
        assert_eq!(read(refusal(status), &about), expected);
    }
    let kind = read(refusal(OcspResponseStatus::Successful), &about).unwrap_err();
    assert_eq!(kind, "ocsp: it is an answer of another kind");
    for raw in [
        &b""[..],
        b"<html>",
        &[0x30, 0x80, 0, 0],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    ] {
        let why = read(raw.to_vec(), &about).unwrap_err();
        assert!(why.starts_with("ocsp: it is no answer: "), "{why}");
    }
}

#[test]
fn no_byte_of_an_answer_may_be_another() {
    let ca = Ca::new();
    let own = ca.server(&[], true);
    let about = subject(&ca, &own);
    let whole = ca.answer(ca.id(&own.der), &said(Saying::Good));
    assert!(read(whole.clone(), &about).is_ok());
    for at in 0..whole.len() {
        assert!(read(whole[..at].to_vec(), &about).is_err(), "{at} bytes of it");
        for bit in 0..8 {
            let mut other = whole.clone();
            other[at] ^= 1 << bit;
            assert!(read(other, &about).is_err(), "bit {bit} of byte {at}");
        }
    }
    let longer: Vec<u8> = whole.iter().copied().chain([0]).collect();
    assert!(read(longer, &about).is_err());
}

#[test]
fn a_request_names_the_certificate() {
    let ca = Ca::new();
    let own = ca.server(&[], true);
    assert_eq!(asked(&subject(&ca, &own).request().unwrap()), ca.id(&own.der));
}

#[test]
fn a_certificate_says_whether_and_where() {
    let ca = Ca::new();
    let urls = ["http://one/".to_owned(), "http://two/x".to_owned()];
    let (with, without) = (ca.server(&urls, true), ca.server(&[], false));
    assert!(must_staple(&with.der) && !must_staple(&without.der));
    assert!(!must_staple(&CertificateDer::from(vec![1, 2, 3])));
    assert_eq!(subject(&ca, &with).responders, urls);
    assert!(subject(&ca, &without).responders.is_empty());
}

#[test]
fn an_issuer_stands_behind_the_certificate_or_among_the_authorities() {
    let (ca, other) = (Ca::new(), Ca::new());
    let own = ca.server(&[], true);
    let of = |chain: &[&CertificateDer<'static>], authorities: &[&CertificateDer<'static>]| {
        let chain: Vec<_> = chain.iter().map(|&der| der.clone()).collect();
        let found = Subject::of(&chain, || authorities.iter().map(|&der| der.clone()).collect());
        found.map(|subject| subject.issuer == ca.der)
    };
    assert_eq!(of(&[&own.der, &ca.der], &[]), Ok(true));
    assert_eq!(of(&[&own.der], &[&other.der, &ca.der]), Ok(true));
    let none = Err("no issuers found".to_owned());
    assert_eq!(of(&[&own.der], &[]), none);
    assert_eq!(of(&[&own.der], &[&other.der]), none);
    // As nats-server: what stands behind it has to be the one.
    assert_eq!(of(&[&own.der, &other.der], &[&ca.der]), none);
    // One that is no authority has signed it.
    let params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
    let small = ca.sign(params.clone());
    let by = Ca {
        issuer: rcgen::Issuer::new(params, small.key),
        der: small.der,
    };
    let below = by.server(&[], true);
    let why = of(&[&below.der, &by.der], &[]).unwrap_err();
    assert!(why.ends_with("invalid ca basic constraints: is not ca"), "{why}");
}

#[test]
fn modes_decide_which_certificates_have_one() {
    let of = |mode, says_so| {
        let ocsp = Ocsp { mode, urls: Vec::new() };
        Rule::of(Some(&ocsp), says_so)
    };
    assert_eq!(
        [false, true].map(|says_so| Rule::of(None, says_so)),
        [Rule::None, Rule::Staple]
    );
    for (mode, without, with) in [
        (OcspMode::Auto, Rule::None, Rule::Staple),
        (OcspMode::Must, Rule::None, Rule::Strict),
        (OcspMode::Always, Rule::Strict, Rule::Strict),
        (OcspMode::Never, Rule::None, Rule::None),
    ] {
        assert_eq!([of(mode, false), of(mode, true)], [without, with], "{mode:?}");
    }
}

#[test]
fn half_of_its_time_is_gone_on_with_an_answer() {
    let until = |seconds: Option<i64>| {
        let answer = Answer {
            raw: Vec::new(),
            status: Status::Good,
            this_update: now(),
            next_update: seconds.map(|seconds| Timestamp::from_second(NOW + seconds).unwrap()),
        };
        pause(&answer, now()).as_secs()
    };
    assert_eq!(until(Some(3600)), 1800);
    assert_eq!(until(Some(7 * 86_400)), 86_400);
    assert_eq!(until(None), 86_400);
    assert_eq!([until(Some(1)), until(Some(0)), until(Some(-5))], [1, 1, 1]);
}

#[test]
fn an_answer_about_a_client_counts_by_the_rules() {
    let rules = OcspPeer {
        skew: Duration::from_secs(30),
        unsaid: Duration::from_secs(60),
        ..OcspPeer::default()
    };
    let counts = |from: i64, until: Option<i64>| {
        let at = |seconds: i64| Timestamp::from_second(NOW + seconds).unwrap();
        let answer = Answer {
            raw: Vec::new(),
            status: Status::Good,
            this_update: at(from),
            next_update: until.map(at),
        };
        Remembered::of(&answer).counts_at(now(), &rules)
    };
    for (from, until) in [
        (-100, Some(0)),
        (-100, Some(-30)),
        (30, Some(100)),
        (-90, None),
        (0, None),
    ] {
        assert!(counts(from, until), "{from} {until:?}");
    }
    for (from, until) in [(-100, Some(-31)), (31, Some(100)), (-91, None), (31, None)] {
        assert!(!counts(from, until), "{from} {until:?}");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let answer = |status| Answer {
        raw: Vec::new(),
        status,
        this_update: now(),
        next_update: None,
    };
    let (good, revoked) = (
        Remembered::of(&answer(Status::Good)),
        Remembered::of(&answer(Status::Revoked)),
    );
    let mut known = Known::default();
    known.put("first", revoked);
    for number in 1..OCSP_KNOWN_MAX {
        known.put(&number.to_string(), good);
        // Once more takes no more room.
        known.put(&number.to_string(), good);
    }
    let counts = known.counts();
    assert_eq!((counts.revoked, counts.good), (1, OCSP_KNOWN_MAX - 1));
    assert_eq!(known.get("first"), Some(revoked));
    known.put("last", good);
    let counts = known.counts();
    assert_eq!((counts.revoked, counts.good), (0, OCSP_KNOWN_MAX));
    assert_eq!((known.get("first"), known.get("last")), (None, Some(good)));
    known.put("last", revoked);
    assert_eq!((known.counts().revoked, known.counts().good), (1, OCSP_KNOWN_MAX - 1));
}

#[test]
fn a_chain_goes_up_to_one_that_is_trusted() {
    let (root, other) = (Ca::new(), Ca::new());
    let url = ["http://responder/".to_owned()];
    let between = root.below(&url);
    let own = between.server(&url, false);
    let digests = |chain: &[&CertificateDer<'static>], authorities: &[&CertificateDer<'static>]| {
        let owned = |all: &[&CertificateDer<'static>]| all.iter().map(|&der| der.clone()).collect::<Vec<_>>();
        let found = links(&owned(chain), &owned(authorities))?;
        Some(found.iter().map(|link| link.digest().to_owned()).collect::<Vec<_>>())
    };
    let both = digests(&[&own.der, &between.der], &[&other.der, &root.der]).unwrap();
    assert_eq!(both.len(), 2);
    // Whatever stands between them.
    assert_eq!(
        digests(&[&own.der, &other.der, &between.der, &own.der], &[&root.der]),
        Some(both.clone())
    );
    // The one between is trusted itself.
    assert_eq!(digests(&[&own.der], &[&between.der]), Some(both[..1].to_vec()));
    assert_eq!(digests(&[&own.der, &between.der], &[&own.der]), Some(Vec::new()));
    assert_eq!(digests(&[&own.der, &between.der], &[&other.der]), None);
    assert_eq!(digests(&[&own.der], &[&root.der]), None);
    assert_eq!(digests(&[], &[&root.der]), None);
    // Who names nobody is not asked about.
    let silent = root.server(&[], false);
    assert_eq!(digests(&[&silent.der], &[&root.der]), Some(Vec::new()));
    let elsewhere = root.server(&["ldap://responder/".to_owned()], false);
    assert_eq!(digests(&[&elsewhere.der], &[&root.der]), Some(Vec::new()));
    // One that has signed itself, and is not trusted, goes nowhere.
    assert_eq!(digests(&[&other.der, &other.der], &[&root.der]), None);
}

/// A pipe kept a start for ever, and a link led the answer elsewhere.
#[test]
fn only_files_are_kept_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (read, write) = (
        |name: &str| runtime.block_on(kept::read(folder.path(), name)),
        |name: &str| runtime.block_on(kept::write(folder.path(), name, b"answer")),
    );
    write("plain").unwrap();
    write("plain").unwrap();
    assert_eq!(read("plain").unwrap(), b"answer");
    let mode = std::fs::metadata(folder.path().join("plain"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777 & !0o600, 0, "{mode:o}");
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("linked.tmp")).unwrap();
    write("linked").unwrap_err();
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    for name in ["pipe", "writing.tmp"] {
        let path = folder.path().join(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
    }
    read("pipe").unwrap_err();
    write("writing").unwrap_err();
}

/// Each reload put it off by half of what was left.
#[test]
fn a_reload_puts_off_no_question() {
    let ca = Ca::new();
    let own = ca.server(&[], false);
    let raw = ca.answer(ca.id(&own.der), &said(Saying::Good));
    let known = Answer::read(raw, &subject(&ca, &own), now()).unwrap();
    let first = due(&known, None, now());
    let later = first.checked_sub(jiff::SignedDuration::from_secs(60)).unwrap();
    assert_eq!(due(&known, Some(first), later), first);
    assert!(due(&known, None, later) > first);
}
