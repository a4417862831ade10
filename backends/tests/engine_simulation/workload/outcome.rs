//! What comes of what the simulation asks for: answers, deliveries, faults and starts, and what must be there then.

use super::*;

impl Simulation {
    /// Tells the oracle what was said.
    pub fn listen(&mut self) {
        for (number, now, said) in self.world.said() {
            if self.world.disk.is_told() {
                let asked = self.asked.get(&number);
                eprintln!("-- {now} {asked:?}: {:.300}", format!("{said:?}"));
            }
            match said {
                Said::Delivered(delivery) => {
                    let name = &delivery.consumer.stream;
                    let id = self.names.get(&**name).copied();
                    let known = id.and_then(|id| self.streams.get_mut(&id));
                    known.expect("a stream that is known").delivered(&delivery);
                }
                Said::Heard => {
                    if let Some(Asked::Ack(id, name, seq)) = self.asked.remove(&number) {
                        self.known(id).acknowledge(&name, seq, true);
                    }
                }
                said => {
                    if let Some(asked) = self.asked.remove(&number) {
                        self.answered(asked, number, said, now);
                    }
                }
            }
        }
        if self.world.group.as_mut().is_some_and(Replicas::has_changed_leader) {
            self.restarted(false);
        }
    }

    fn answered(&mut self, asked: Asked, number: u64, said: Said, now: i64) {
        let outcome =
            match &said {
                Said::Published(Err(error)) | Said::Done(Err(error)) | Said::Looked(Err(error)) => {
                    if is_refusal(error) { Is::Gone } else { Is::Open }
                }
                _ => Is::There,
            };
        self.answers[match outcome {
            Is::There => 0,
            Is::Gone => 1,
            Is::Open => 2,
        }] += 1;
        match (asked, said) {
            (Asked::Publish(id), Said::Published(Ok(ack))) => {
                self.known(id).published(number, ack.seq, ack.duplicate, now);
            }
            (Asked::Publish(id), _) if outcome == Is::Gone => self.known(id).not_published(number),
            (Asked::Batch(id, orders), Said::Published(Ok(ack))) => {
                let batch = ack.batch.as_ref().expect("the end of a batch is told");
                assert_eq!(batch.count, orders.len() as u64, "{ack:?}");
                self.known(id).batch_published(&orders, ack.seq, now);
            }
            (Asked::Batch(id, orders), _) if outcome == Is::Gone => {
                for order in orders {
                    self.known(id).not_published(order);
                }
            }
            (Asked::Create(id), _) => {
                match outcome {
                    Is::There if !self.known(id).is_in_memory() => {
                        let shard = self.shard_of(id);
                        self.used.insert(id, shard);
                    }
                    _ => {}
                }
                self.known(id).is = outcome;
            }
            (Asked::Delete(id), Said::Done(Ok(()))) => self.known(id).is = Is::Gone,
            (Asked::Update(id, config, settings), Said::Done(Ok(()))) => self.known(id).updated(*config, settings),
            (Asked::Removal(id), _) => self.known(id).removed(number, outcome),
            (Asked::CreateConsumer(id, name), _) => {
                if let Some(consumer) = self.known(id).consumers.get_mut(&name) {
                    consumer.is = outcome;
                }
            }
            (Asked::DeleteConsumer(id, name), Said::Done(Ok(()))) => {
                if let Some(consumer) = self.known(id).consumers.get_mut(&name) {
                    consumer.is = Is::Gone;
                }
            }
            // What it heard acknowledged before may come again.
            (Asked::BendConsumer(id, name), _) => {
                if let Some(consumer) = self.known(id).consumers.get_mut(&name) {
                    consumer.bend();
                }
            }
            (Asked::Look(id, quiet), Said::Looked(look)) => match look {
                Ok(look) => {
                    let (seed, phase) = (self.seed, self.phase.clone());
                    let _context = Context(format!("seed {seed}, {phase}"));
                    let found = self.world.store().store().findings().len();
                    self.known(id).verify(&look, now, quiet, found);
                }
                Err(error) => {
                    let excused = self.known(id).damaged || self.world.is_over();
                    assert!(excused || !quiet, "{}: {error}", self.phase);
                }
            },
            _ => {}
        }
    }

    /// Looks at everything, when nothing is under way. `disturbed` if the disk may have failed.
    pub fn verify(&mut self, phase: &str) {
        self.phase = phase.to_owned();
        let (mut random, what) = (Random(self.random.next()), format!("seed {}, {phase}", self.seed));
        self.world.settle(&mut random);
        self.listen();
        if self.world.is_over() {
            return;
        }
        let catalogue = self.world.store().store().catalogue().clone();
        for entry in catalogue.list(ACCOUNT) {
            let known = self.streams.get(&entry.id);
            if self.rotten.contains(&entry.shard) && known.is_none_or(|known| known.is == Is::Gone) {
                // Its deletion is lost.
                continue;
            }
            let known = known.unwrap_or_else(|| panic!("{what}: nobody made {} {}", entry.name, entry.id));
            assert!(known.is != Is::Gone, "{what}: {} {} came back", entry.name, entry.id);
            assert!(
                entry.offline.is_none() || known.damaged,
                "{what}: {} is offline: {:?}",
                entry.name,
                entry.offline
            );
        }
        let there: BTreeSet<StreamId> = catalogue.list(ACCOUNT).iter().map(|entry| entry.id).collect();
        let found = catalogue.finding_count();
        let injected = self.world.disk.injected();
        for known in self.streams.values_mut() {
            known.troubled |= injected.io + injected.full > 0;
            if there.contains(&known.id) {
                continue;
            }
            assert!(
                !known.damaged || known.is != Is::There || found > 0 || known.silent,
                "{what}: {} is gone without a word",
                known.name
            );
            assert!(
                known.is != Is::There || known.damaged,
                "{what}: {} {} was acknowledged, and is gone",
                known.name,
                known.id
            );
            known.is = Is::Gone;
        }
        self.streams.retain(|_, known| known.is != Is::Gone);
        let ids: Vec<(StreamId, ShardId)> = self.streams.values().map(|known| (known.id, known.shard)).collect();
        for known in self.streams.values().filter(|known| known.damaged) {
            // What a reader meets is known from the next turn on.
            self.world.look(known.shard, 0, known.id);
        }
        self.world.turn_all();
        self.listen();
        for (id, shard) in ids {
            let number = self.number();
            self.asked.insert(number, Asked::Look(id, true));
            self.world.look(shard, number, id);
        }
        self.world.turn_all();
        self.listen();
    }

    /// The process ended, by this.
    pub fn restarted(&mut self, power: bool) {
        self.asked.clear();
        for known in self.streams.values_mut() {
            if known.is_in_memory() {
                known.is = Is::Gone;
            } else {
                known.restarted(power);
                if power && known.cuts > 0 && known.is == Is::There && known.settings.durability != Durability::Sync {
                    // Its creation was synced; a later deletion may not have been.
                }
            }
        }
        self.streams.retain(|_, known| known.is != Is::Gone);
    }

    /// What may go wrong from now on.
    pub fn draw_fault(&mut self) {
        let random = &mut self.random;
        match random.below(5) {
            0 => {
                let failure = *random.pick(&[Failure::Io, Failure::Full]);
                let (at, for_good) = (1 + random.below(150), random.one_in(2));
                self.world.disk.fail_at(at, failure, for_good);
            }
            1 => self.world.disk.end_at(1 + random.below(200)),
            2 => self.world.disk.chill(),
            _ => {}
        }
    }

    /// The power fails.
    pub fn lose_power(&mut self) {
        let mut dice = Dice::new(self.random.next());
        self.world.disk.lose_power(&mut dice);
    }
}

/// Says where it was when something failed.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
