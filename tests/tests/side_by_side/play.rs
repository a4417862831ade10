//! Asks a server what a [`Sheet`] asks, and keeps what comes.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use weir_jwt::{AccountClaims, Trace, UserClaims, encode};
use weir_tests::certificates::Certificates;
use weir_tests::peer::Peer;

use super::callout::{self, Callout};
use super::client::{Answer, Client};
use super::lookup::Lookup;
use super::settled;
use super::sheet::Sheet;
use super::wire;
use super::world::World;

/// Where a server listens, unless its configuration says it.
const FLAGS: &[&str] = &["-a", "127.0.0.1", "-p", "-1", "-m", "-1"];

/// How long a server may take to know that a connection has ended.
const SETTLED: Duration = Duration::from_secs(20);

/// What every server is asked at the end.
const PAGES: &[&str] = &[
    "/varz",
    "/connz?subs=1&auth=1",
    "/connz?state=closed&auth=1&subs=detail",
    "/subsz?subs=1",
    "/accountz",
    "/accstatz?unused=1",
    "/jsz?accounts=1&config=1",
    "/healthz",
];

/// What the system account asks each server, and of each account.
const SERVICES: &[(&str, &str)] = &[
    ("SERVER.PING", ""),
    ("SERVER.PING.IDZ", ""),
    ("SERVER.PING.VARZ", ""),
    ("SERVER.PING.CONNZ", r#"{"subscriptions_detail":true,"auth":true}"#),
    ("SERVER.PING.SUBSZ", r#"{"subscriptions":true}"#),
    ("SERVER.PING.ACCOUNTZ", ""),
    ("SERVER.PING.JSZ", r#"{"accounts":true}"#),
    ("SERVER.PING.HEALTHZ", ""),
];
const OF_ACCOUNT: &[&str] = &["CONNZ", "SUBSZ", "INFO", "JSZ", "STATZ", "CONNS", "LEAFZ"];

/// What was asked, and what came of it.
pub type Told = Vec<(String, Value)>;

/// What there is for clients to show.
pub struct Wallet {
    pub world: World,
    pub certificates: Certificates,
    pub lookup: Lookup,
}

impl Wallet {
    /// The world of `admission`, and what is only asked about here.
    ///
    /// # Errors
    /// No folder for certificates.
    pub fn make() -> Result<Self> {
        use KeyPairType::{Account, Operator, User};
        let key = |kind, number: u8| KeyPair::new_from_raw(kind, [number; 32]);
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let (mut world, operator) = (World::new()?, key(Operator, 1)?);
        for (name, number) in [("proxy", 72), ("other proxy", 73)] {
            let key = key(User, number)?;
            world.name(&format!("{name} seed"), key.seed()?);
            world.name(&format!("{name} key"), key.public_key());
        }
        world.name("user key", key(User, 74)?.public_key());
        world.name("user seed", key(User, 74)?.seed()?);
        world.name("issuer", key(Account, callout::ISSUER[0])?.public_key());
        world.name("xkey", callout::xkey()?.public_key());
        // An account that wants to be told of traces, and one whose service decides who may come in.
        let mut traces = AccountClaims::new(&key(Account, 80)?.public_key());
        traces.nats.trace = Some(Trace {
            destination: "told.traces".to_owned(),
            sampling: 100,
        });
        let mut decides = AccountClaims::new(&key(Account, 81)?.public_key());
        decides.nats.authorization.auth_users.push(key(User, 50)?.public_key());
        decides
            .nats
            .authorization
            .allowed_accounts
            .push(key(Account, 11)?.public_key());
        for (name, number, claims) in [("traces", 80, traces), ("decides", 81, decides)] {
            world.name(&format!("{name} key"), key(Account, number)?.public_key());
            world.name(name, encode(claims, &operator, now)?);
            for user in [50, 51] {
                let claims = UserClaims::new(&key(User, user)?.public_key());
                world.name(&format!("{name} {user}"), encode(claims, &key(Account, number)?, now)?);
            }
        }
        Ok(Self {
            lookup: Lookup::start(world.accounts())?,
            world,
            certificates: Certificates::make()?,
        })
    }
}

struct Stage<'a> {
    wallet: &'a Wallet,
    peer: Peer,
    /// Clients by their names, in the order in which they came.
    clients: Vec<(String, Client)>,
    callout: Option<Callout>,
    told: Told,
    /// What the server calls itself, its key and its folder.
    hide: Vec<(String, &'static str)>,
    sid: usize,
    /// Which of them it happens to is the server's choice.
    anyone: bool,
}

/// What a server says to all that is asked of it.
pub fn play(program: &Path, wallet: &Wallet, sheet: &Sheet) -> Result<Told> {
    let mut flags: Vec<&str> = FLAGS.to_vec();
    let mut pages: Vec<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    let mut steps = Vec::new();
    for step in &sheet.steps {
        match step.split_once(' ').unwrap_or((step, "")) {
            ("bare", _) => flags.clear(),
            ("flags", more) => flags.extend(more.split(' ')),
            ("pages", accounts) => {
                pages.extend(
                    accounts
                        .split(' ')
                        .map(|name| format!("/accountz?acc={}", wallet.world.fill(name))),
                );
            }
            ("without", page) => pages.retain(|other| !other.starts_with(page)),
            ("#" | "anyone", _) => {}
            _ => steps.push(wallet.world.fill(step)),
        }
    }
    let certificates = wallet.certificates.path("");
    let url = wallet.lookup.url();
    let fill = |text: &str| {
        let text = wallet.world.fill(text).replace("@URL@", &url);
        text.replace("@CERTS@/", &certificates.to_string_lossy())
    };
    let beside: Vec<(String, String)> = sheet
        .beside
        .iter()
        .map(|(name, text)| (name.clone(), fill(text)))
        .collect();
    let peer = match Peer::try_start(program, &fill(&sheet.configuration), &flags, &beside)? {
        Ok(peer) => peer,
        Err(log) => return Ok(vec![("start".to_owned(), settled::refusal(&log))]),
    };
    let mut hide = vec![(peer.folder().to_string_lossy().into_owned(), "FOLDER")];
    hide.push((url.clone(), "URL"));
    let mut stage = Stage {
        hide,
        wallet,
        peer,
        clients: Vec::new(),
        callout: None,
        told: Vec::new(),
        sid: 0,
        anyone: sheet.steps.iter().any(|step| step == "anyone"),
    };
    for step in &steps {
        if step == "reload" {
            let then = sheet.then.as_deref().context("what does it become?")?;
            let verdict = match stage.peer.reload(&fill(then))? {
                Ok(()) => json!("applied"),
                Err(why) => settled::refusal(&why),
            };
            stage.tell("reload", verdict);
            stage.tell_clients("reload");
            continue;
        }
        stage.step(step).with_context(|| step.clone())?;
    }
    if !pages.is_empty() {
        stage.settle()?;
    }
    for page in pages {
        stage.page(&page)?;
    }
    for (name, client) in &stage.clients {
        let infos: Vec<Value> = client
            .infos
            .iter()
            .map(|info| settled::document(info, &stage.hide))
            .collect();
        stage.told.push((format!("INFO of {name}"), json!(infos)));
    }
    if let Some(callout) = stage.callout.take() {
        drop(stage.peer);
        for asked in callout.asked() {
            stage
                .told
                .push(("callout".to_owned(), settled::document(&asked, &stage.hide)));
        }
    }
    Ok(stage.told)
}

impl Stage<'_> {
    fn tell(&mut self, asked: &str, came: Value) {
        let came = settled::hidden(&came, &self.hide);
        self.told.push((asked.to_owned(), came));
    }

    fn client(&mut self, name: &str) -> Result<&mut Client> {
        let found = self.clients.iter_mut().find(|(other, _)| other == name);
        Ok(&mut found.with_context(|| format!("nobody is {name}"))?.1)
    }

    /// Waits until those that have ended are taken out, of which there is no other sign.
    fn settle(&self) -> Result<()> {
        let there =
            self.clients.iter().filter(|(_, client)| !client.has_ended()).count() + usize::from(self.callout.is_some());
        let since = Instant::now();
        loop {
            let (_, page) = wire::page(&self.peer, &self.wallet.certificates, "/connz?limit=1")?;
            let page: Value = serde_json::from_str(&page)?;
            if page["num_connections"].is_null() || page["total"] == json!(there) || since.elapsed() > SETTLED {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What all clients got since the last time.
    fn tell_clients(&mut self, asked: &str) {
        for (_, client) in &mut self.clients {
            client.settle();
        }
        if self.anyone {
            let mut came: Vec<String> = self.clients.iter_mut().flat_map(|(_, client)| client.take()).collect();
            came.sort();
            return self.tell(asked, json!(came));
        }
        let came = self
            .clients
            .iter_mut()
            .map(|(name, client)| (name.clone(), json!(client.take())));
        let came: serde_json::Map<String, Value> = came.filter(|(_, came)| *came != json!([])).collect();
        self.tell(asked, Value::Object(came));
    }

    fn step(&mut self, step: &str) -> Result<()> {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        match word {
            "as" => return self.join(step, rest),
            "say" => self.say(rest, true)?,
            "publish" => self.say(rest, false)?,
            "get" => return self.page(rest),
            "files" => return self.files(),
            "ask" => {
                let (name, rest) = rest.split_once(' ').context("ask NAME SUBJECT")?;
                let (subject, payload) = rest.split_once(' ').unwrap_or((rest, ""));
                return self.ask(name, subject, payload);
            }
            "system" => {
                let mut words = rest.split(' ');
                let name = words.next().context("system NAME")?;
                for (service, payload) in SERVICES {
                    self.ask(name, &format!("$SYS.REQ.{service}"), payload)?;
                }
                for account in words {
                    for service in OF_ACCOUNT {
                        self.ask(name, &format!("$SYS.REQ.ACCOUNT.{account}.{service}"), "")?;
                    }
                    let payload = json!({"account": account}).to_string();
                    self.ask(name, "$SYS.REQ.SERVER.PING.ACCOUNTZ", &payload)?;
                }
            }
            "callout" => {
                let (way, connect) = rest.split_once('{').context("callout WAY {…}")?;
                let client = Client::connect(&self.peer, &self.wallet.certificates, "", &format!("{{{connect}"))?;
                self.callout = Some(Callout::start(client, way.trim())?);
            }
            _ => match (word.strip_suffix('>'), word.strip_suffix('!'), word.strip_suffix('~')) {
                (Some(name), ..) => {
                    let (operation, hears) = rest.split_once(" => ").unwrap_or((rest, name));
                    let (hears, count) = hears.split_once(' ').unwrap_or((hears, "1"));
                    let before = self.client(hears)?.heard();
                    let answered = self.client(name)?.replies().pop().unwrap_or_default();
                    self.client(name)?.say(&operation.replace("@LAST", &answered));
                    self.client(name)?.settle();
                    if rest != operation {
                        self.client(hears)?.hear(before + count.parse::<usize>()?);
                    }
                    self.tell_clients(step);
                }
                (_, Some(name), _) => {
                    self.client(name)?.end();
                    self.tell_clients(step);
                }
                (_, _, Some(name)) => {
                    self.client(name)?.hear_ping();
                    self.tell_clients(step);
                }
                _ => bail!("no step: {step}"),
            },
        }
        Ok(())
    }

    /// A client comes. One of the same name goes.
    fn join(&mut self, step: &str, rest: &str) -> Result<()> {
        let (name, rest) = rest.split_once(' ').context("as NAME WAY {…}")?;
        let at = rest.find('{').unwrap_or_else(|| rest.len() - 1);
        let (way, connect) = rest.split_at(at);
        self.clients.retain(|(other, _)| other != name);
        let mut client = Client::connect(&self.peer, &self.wallet.certificates, way.trim(), connect)?;
        if let Some(info) = client.infos.first() {
            for (told, hidden) in [("server_id", "ID"), ("xkey", "XKEY")] {
                if let Some(told) = info[told].as_str() {
                    self.hide.push((told.to_owned(), hidden));
                }
            }
        }
        let told = json!(client.take());
        self.clients.push((name.to_owned(), client));
        self.tell(step, told);
        Ok(())
    }

    /// All clients hear all of these subjects, if `hear`, and publish to them, and who is asked for an answer gives one.
    fn say(&mut self, subjects: &str, hear: bool) -> Result<()> {
        let names: Vec<String> = self.clients.iter().map(|(name, _)| name.clone()).collect();
        for name in names.iter().filter(|_| hear) {
            for subject in subjects.split(' ') {
                self.sid += 1;
                let sid = self.sid;
                let client = self.client(name)?;
                client.say(&format!("SUB {subject} {sid}"));
                client.settle();
                let told = json!(client.take());
                self.tell(&format!("{name}> SUB {subject}"), told);
            }
        }
        for name in &names {
            for subject in subjects.split(' ') {
                let subject = subject.replace('*', "x").replace('>', "y.z");
                self.client(name)?.say(&format!("PUB {subject} reply.{name}|by {name}"));
                self.client(name)?.settle();
                self.tell_clients(&format!("{name}> PUB {subject}"));
                for (name, client) in &mut self.clients {
                    if let Some(reply) = client.replies().first() {
                        client.say(&format!("PUB {reply}|answer of {name}"));
                        client.settle();
                    }
                }
                self.tell_clients(&format!("answers to {name}> PUB {subject}"));
                self.clients.iter_mut().for_each(|(_, client)| drop(client.replies()));
            }
        }
        Ok(())
    }

    fn ask(&mut self, name: &str, subject: &str, payload: &str) -> Result<()> {
        let client = self.client(name)?;
        let answered = client.replies().pop().unwrap_or_default();
        let answer = client.ask(&subject.replace("@LAST", &answered), payload)?;
        let came = match answer {
            Answer::Said(text) => self.text(&text),
            Answer::Lines(lines) => json!(lines),
        };
        self.tell(&format!("ask {name} {subject} {payload}"), came);
        Ok(())
    }

    /// A document without what differs each time.
    fn text(&self, text: &str) -> Value {
        match serde_json::from_str::<Value>(text) {
            Ok(document) => settled::document(&document, &self.hide),
            Err(_) => settled::document(&json!(text), &self.hide),
        }
    }

    /// Of those that are not there for the test: their names, and what they say where they tell of the server.
    fn files(&mut self) -> Result<()> {
        let pid = self.peer.pid().to_string();
        let mut found = serde_json::Map::new();
        for entry in std::fs::read_dir(self.peer.folder())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() || name == "log" || name == "server.conf" {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let told = match name.as_str() {
                name if name.ends_with(".pid") => json!(text.replace(&pid, "PID")),
                name if name.ends_with(".ports") => self.text(&text),
                _ => Value::Null,
            };
            // Each program has its own name there.
            let name = name.replace(&pid, "PID").replace("weir-server", "nats-server");
            found.insert(name, told);
        }
        self.tell("files", Value::Object(found));
        Ok(())
    }

    fn page(&mut self, path: &str) -> Result<()> {
        let (status, body) = loop {
            let (status, body) = wire::page(&self.peer, &self.wallet.certificates, path)?;
            // nats-server gives itself a millisecond to look, which is too little for a busy machine.
            if !body.contains("failed to be ready for connections") {
                break (status, body);
            }
        };
        let body = self.text(&body);
        self.tell(&format!("get {path}"), json!({"status": status, "body": body}));
        Ok(())
    }
}
