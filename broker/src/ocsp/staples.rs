//! What goes with the server's certificates: their authorities' word that they are good now (OCSP stapling). Which of them have one,
//! whom it is got from, how long it counts, and what becomes of it when it does not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

use super::answer::{Answer, Status};
use super::subject::{Subject, must_staple};
use super::{Now, ask, kept};
use crate::conf::Options;
use crate::conf::options::{CallingTls, Ocsp, OcspMode};
use crate::context::{Shown, Tls, calling};
use crate::http::Caller;
use crate::limits::{OCSP_ANSWER_MAX, OCSP_PAUSE_EXPIRED, OCSP_PAUSE_MAX, OCSP_PAUSE_MIN};

/// Where answers are kept, in the store directory.
const FOLDER: &str = "ocsp";

/// The certificates that go with a staple.
pub(crate) struct Staples {
    watched: Vec<Watched>,
    /// Those that should and may not.
    disabled: Vec<String>,
    /// Whom to ask in the place of those that the certificates name; empty: those.
    urls: Vec<String>,
    /// Where answers are kept; `None`: nowhere.
    folder: Option<PathBuf>,
    caller: Caller,
}

/// A certificate that goes with one.
struct Watched {
    about: Subject,
    /// Wherever it is shown. Never nowhere.
    shown: Vec<Arc<Shown>>,
    /// Where it is, for the log.
    file: String,
    /// Whether the server goes when it is not good.
    strict: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answer: Option<Answer>,
    /// When to ask again.
    due: Timestamp,
}

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Its certificate goes without.
    None,
    /// It is got.
    Staple,
    /// It is got, and has to be good.
    Strict,
}

impl Rule {
    pub(super) fn of(ocsp: Option<&Ocsp>, says_so: bool) -> Self {
        match (ocsp.map_or(OcspMode::Auto, |ocsp| ocsp.mode), says_so) {
            (OcspMode::Always, _) | (OcspMode::Must, true) => Self::Strict,
            (OcspMode::Auto, true) => Self::Staple,
            (OcspMode::Never, _) | (_, false) => Self::None,
        }
    }
}

impl Staples {
    /// Those that the options want, of these certificates. Nobody is asked yet.
    ///
    /// # Errors
    /// It is not known who signed one.
    pub fn of<'t>(options: &Options, all: impl IntoIterator<Item = &'t Arc<Tls>>) -> Result<Self, String> {
        let ocsp = options.ocsp.as_ref();
        let (mut watched, mut disabled): (Vec<Watched>, _) = (Vec::new(), Vec::new());
        let all: Vec<&Arc<Tls>> = all.into_iter().collect();
        for tls in all.iter().copied() {
            for shown in tls.shown.iter() {
                let Some(own) = shown.key.cert.first() else {
                    continue;
                };
                let (says_so, file) = (must_staple(own), shown.file.display().to_string());
                let rule = Rule::of(ocsp, says_so);
                if rule == Rule::None {
                    if says_so && ocsp.is_some_and(|ocsp| ocsp.mode == OcspMode::Never) {
                        disabled.push(file);
                    }
                    continue;
                }
                // Those of its own port, or else, as in nats-server, of another one.
                let others = all.iter().filter_map(|other| other.authorities.as_ref());
                let about = Subject::of(&shown.key.cert, || {
                    authorities(tls).into_iter().chain(others.flatten().cloned()).collect()
                })
                .map_err(|why| format!("OCSP of the certificate at '{file}': {why}"))?;
                match watched.iter_mut().find(|known| known.about.digest == about.digest) {
                    Some(known) => known.shown.push(Arc::clone(shown)),
                    None => watched.push(Watched {
                        about,
                        shown: vec![Arc::clone(shown)],
                        file,
                        strict: rule == Rule::Strict,
                        state: Mutex::default(),
                    }),
                }
            }
        }
        Ok(Self {
            caller: Caller::new(
                match watched.is_empty() {
                    true => Err(String::new()),
                    false => calling(&CallingTls::default()),
                },
                OCSP_ANSWER_MAX,
            ),
            watched,
            disabled,
            urls: ocsp.map(|ocsp| ocsp.urls.clone()).unwrap_or_default(),
            folder: options.jetstream.store_dir.as_ref().map(|dir| dir.join(FOLDER)),
        })
    }

    /// Whether there is none to see after.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Gets all: of what was there before, of what was kept, or of responders. Until then no certificate of these is to be shown.
    ///
    /// # Errors
    /// One cannot be had, or has to be good and is not.
    pub async fn obtain(&self, before: Option<&Self>, now: Now<'_>) -> Result<(), String> {
        for file in &self.disabled {
            tracing::warn!("Certificate at '{file}' has MustStaple but OCSP is disabled");
        }
        for watched in &self.watched {
            let file = &watched.file;
            let known = before.and_then(|before| before.known(&watched.about));
            let (answer, due) = match known.filter(|(known, _)| known.counts_at(now())) {
                Some((answer, due)) => (answer, Some(due)),
                None => match self.kept(watched, now()).await {
                    Some(answer) => (answer, None),
                    None => {
                        tracing::info!("Asking for the OCSP status of the certificate at '{file}'");
                        let answer = self.ask(watched, now).await;
                        let answer =
                            answer.map_err(|why| format!("bad OCSP status update for certificate at '{file}': {why}"));
                        (answer?, None)
                    }
                },
            };
            let status = answer.status;
            if status != Status::Good && watched.strict {
                let mut text = format!("found existing OCSP status for certificate at '{file}': {status}");
                if let Some(folder) = &self.folder {
                    let kept = folder.join(&watched.about.digest);
                    text += &format!(" (a start without {} asks again)", kept.display());
                }
                return Err(text);
            }
            watched.take("Found", answer, due, now());
        }
        Ok(())
    }

    /// How long there is nothing to do.
    pub fn pause(&self, now: Timestamp) -> Duration {
        let due = self.watched.iter().map(|watched| watched.state.lock().due).min();
        let pause = due.map_or(SignedDuration::MAX, |due| due.duration_since(now));
        Duration::try_from(pause).unwrap_or_default().min(OCSP_PAUSE_MAX)
    }

    /// Asks again about those it is time for. False: one has to be good and is not.
    pub async fn renew(&self, now: Now<'_>) -> bool {
        for watched in &self.watched {
            if watched.state.lock().due > now() {
                continue;
            }
            match self.ask(watched, now).await {
                Ok(answer) => {
                    let fatal = answer.status != Status::Good && watched.strict;
                    watched.take("Received", answer, None, now());
                    if fatal {
                        return false;
                    }
                }
                Err(why) => watched.wait(&why, now()),
            }
        }
        true
    }

    /// What is known of that certificate, and when to ask again.
    fn known(&self, about: &Subject) -> Option<(Answer, Timestamp)> {
        let same = |watched: &&Watched| watched.about.digest == about.digest && watched.about.issuer == about.issuer;
        let state = self.watched.iter().find(same)?.state.lock();
        Some((state.answer.clone()?, state.due))
    }

    /// What was kept and counts. An answer that does not say until when is none: there may be a newer one at any time.
    async fn kept(&self, watched: &Watched, now: Timestamp) -> Option<Answer> {
        let raw = kept::read(self.folder.as_ref()?, &watched.about.digest).await.ok()?;
        let answer = Answer::read(raw, &watched.about, now).ok()?;
        answer.next_update.is_some().then_some(answer)
    }

    async fn ask(&self, watched: &Watched, now: Now<'_>) -> Result<Answer, String> {
        let urls = match self.urls.is_empty() {
            true => &watched.about.responders,
            false => &self.urls,
        };
        let answer = ask::ask(&self.caller, urls, &watched.about, now).await?;
        if let Some(folder) = &self.folder
            && let Err(error) = kept::write(folder, &watched.about.digest, &answer.raw).await
        {
            let folder = folder.display();
            tracing::warn!("cannot keep the OCSP status of '{}' in {folder}: {error}", watched.file);
        }
        Ok(answer)
    }
}

impl Watched {
    /// Has an answer go with the certificate. `known` is when it was to be asked about again, if it was there before.
    fn take(&self, how: &str, answer: Answer, known: Option<Timestamp>, now: Timestamp) {
        for shown in &self.shown {
            shown.staple(&answer.raw, answer.next_update);
        }
        let due = due(&answer, known, now);
        let pause = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        match answer.status {
            Status::Good => tracing::info!(
                "{how} OCSP status for Client certificate at '{}': good, next update {}, checking again in {}",
                self.file,
                answer
                    .next_update
                    .map_or_else(|| "unknown".to_owned(), |next| next.to_string()),
                spelled(pause)
            ),
            status => tracing::error!("{how} OCSP status for Client certificate at '{}': {status}", self.file),
        }
        let mut state = self.state.lock();
        state.due = due;
        state.answer = Some(answer);
    }

    /// Goes on with the answer there is, if it counts, and says when the next one is asked for.
    fn wait(&self, why: &str, now: Timestamp) {
        let mut state = self.state.lock();
        let pause = match &state.answer {
            Some(answer) if answer.counts_at(now) => pause(answer, now),
            _ => OCSP_PAUSE_EXPIRED,
        };
        state.due = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let (file, spelled) = (&self.file, spelled(pause));
        tracing::error!("Bad OCSP status update for certificate '{file}': {why}, trying again in {spelled}");
    }
}

/// When to ask again about a certificate that an answer is there of: however often there is a reload, no later than it was to be.
pub(super) fn due(answer: &Answer, known: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let due = now.saturating_add(pause(answer, now)).unwrap_or(Timestamp::MAX);
    known.map_or(due, |known| due.min(known))
}

/// How long an answer is gone on with before there is to be another: half of what is left of its time.
pub(super) fn pause(answer: &Answer, now: Timestamp) -> Duration {
    let half = answer.next_update.map(|until| until.duration_since(now) / 2);
    let half = half.map_or(OCSP_PAUSE_MAX, |half| Duration::try_from(half).unwrap_or_default());
    half.clamp(OCSP_PAUSE_MIN, OCSP_PAUSE_MAX)
}

fn spelled(time: Duration) -> String {
    weir_duration::format(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

/// Whoever may have signed certificates of such a port.
fn authorities(tls: &Tls) -> Vec<CertificateDer<'static>> {
    match &tls.authorities {
        Some(authorities) => authorities.clone(),
        None => rustls_native_certs::load_native_certs().certs,
    }
}
