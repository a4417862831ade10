use super::*;

fn export(threshold: Duration) -> Arc<Export> {
    Arc::new(Export {
        subject: "a".into(),
        response: crate::conf::tenancy::ResponseType::Singleton,
        threshold,
        latency: None,
        allow_trace: false,
    })
}

fn ask(answers: &Answers, export: &Arc<Export>, open: &Arc<AtomicUsize>) -> Arc<Answer> {
    answers.ask(Question {
        account: &Account::new("B", 1),
        reply: b"r",
        export,
        share: false,
        measure: None,
        open,
    })
}

#[test]
fn what_is_not_answered_ends() {
    let (answers, open) = (Answers::default(), Arc::default());
    answers.filter();
    let (soon, late) = (export(Duration::ZERO), export(Duration::from_secs(1000)));
    let (one, two) = (ask(&answers, &soon, &open), ask(&answers, &late, &open));
    assert!(one.here.starts_with(ANSWERS) && one.here != two.here);
    let over = answers.expire();
    assert!(over.len() == 1 && Arc::ptr_eq(&over[0], &one));
    assert!(answers.get(&one.here).is_none() && answers.get(&two.here).is_some());
    drop((over, one));
    assert_eq!(open.load(Ordering::Relaxed), 1);
    answers.close(&two);
    drop(two);
    assert_eq!((open.load(Ordering::Relaxed), answers.count()), (0, 0));
}

#[test]
fn the_oldest_give_way() {
    let (answers, open) = (Answers::default(), Arc::default());
    let export = export(Duration::from_secs(1000));
    let first = ask(&answers, &export, &open);
    for _ in 0..ANSWERS_MAX {
        ask(&answers, &export, &open);
    }
    assert!(answers.get(&first.here).is_none());
    assert_eq!(answers.count(), ANSWERS_MAX);
}

#[test]
fn what_is_over_leaves_nothing_behind() {
    let (answers, open) = (Answers::default(), Arc::default());
    let export = export(Duration::from_secs(1000));
    for _ in 0..ANSWERS_PRUNE * 4 {
        let answer = ask(&answers, &export, &open);
        answers.close(&answer);
    }
    assert!(answers.open.lock().order.len() <= ANSWERS_PRUNE + 1);
}
