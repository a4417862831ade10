use super::Runs;

fn round(seqs: impl Iterator<Item = u64> + Clone) -> usize {
    let mut runs = Runs::default();
    seqs.clone().for_each(|seq| runs.push(seq));
    runs.finish();
    let memory = runs.memory();
    assert!(seqs.eq(runs));
    memory
}

#[test]
fn what_was_added_comes_out_again_and_a_run_takes_some_bytes_however_long_it_is() {
    assert_eq!(round(0..0), 0);
    assert_eq!(round([0, u64::MAX - 1].into_iter()), 2 + 11);
    assert!(round(1..1_000_000) <= 5);
    assert_eq!(round((1..100_000).step_by(2)), 100_000);
    assert_eq!(round((1..1000).filter(|seq| seq % 7 != 3)), 2 * 144);
}
