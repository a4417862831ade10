use super::*;

#[test]
fn each_is_told_once_and_many_in_few_lines() {
    let mut damage = Damage::default();
    assert_eq!(damage.found(7), Line::Of);
    assert_eq!(damage.found(7), Line::Nothing, "it was met before");
    let lines: Vec<Line> = (1000..11_000)
        .map(|seq| damage.found(seq))
        .filter(|line| *line != Line::Nothing)
        .collect();
    assert_eq!(lines[..62], [Line::Of; 62]);
    let counts = [64, 128, 256, 512, 1024, 2048, 4096, 8192].map(Line::AndCount);
    assert_eq!(lines[62..], counts);
    assert!(damage.has_untold(), "clients are told of all the same");
}
