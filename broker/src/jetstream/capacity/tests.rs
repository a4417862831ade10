use super::*;

#[test]
fn what_is_configured_counts_and_the_machine_has_something() {
    let folder = Path::new("/");
    let found = capacity(&options::JetStream::default(), folder);
    assert!(found.memory > 0 && found.file > 0);
    let configured = options::JetStream {
        max_memory: Some(0),
        max_file: Some(7),
        ..options::JetStream::default()
    };
    let wanted = Capacity { memory: 0, file: 7 };
    assert_eq!(capacity(&configured, folder), wanted);
}
