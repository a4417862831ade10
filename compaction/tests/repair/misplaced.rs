//! Files and folders of logs that are in the place of others.

use super::*;

#[test]
fn files_that_have_each_others_names_are_put_back() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, files) = of_many_files(folder.path());
    let whole = snapshot_of_files(&log_folder(folder.path(), fixture.log("ORDERS")));
    let away = folder.path().join("away");
    fs::rename(&files[0], &away).unwrap();
    fs::rename(&files[1], &files[0]).unwrap();
    fs::rename(&away, &files[1]).unwrap();
    let told = trouble(folder.path()).unwrap();
    assert!(told.contains("not what its name says"), "{told}");
    let planned = plan(folder.path());
    let doings: Vec<_> = planned.actions.iter().map(|action| action.doing).collect();
    assert_eq!(doings, [Doing::Place, Doing::Place], "{planned:#?}");
    // A repair that was cut short left one of them on its way.
    fs::rename(&files[1], files[0].with_extension("seg.misplaced")).unwrap();
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    assert!(snapshot_of_files(&log_folder(folder.path(), fixture.log("ORDERS"))) == whole);
    let store = start(folder.path());
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    store.close();
    assert_well(folder.path());
}

/// Copies of a log's file lie in two folders, and a file has the name that one of them might get on its way: none of them is put over what
/// is there, and none is lost.
#[test]
fn copies_of_a_file_that_is_in_its_place_go_to_quarantine() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, files) = of_many_files(folder.path());
    let orders = log_folder(folder.path(), fixture.log("ORDERS"));
    let whole = snapshot_of_files(&orders);
    let mut copies = Vec::new();
    for log in [777, 778] {
        let other = log_folder(folder.path(), StreamId(log));
        fs::create_dir(&other).unwrap();
        let copy = other.join(files[0].file_name().unwrap());
        fs::copy(&files[0], &copy).unwrap();
        // They are not the same: each must be found afterwards.
        let mut raw = fs::read(&copy).unwrap();
        raw.extend_from_slice(&log.to_le_bytes());
        fs::write(&copy, &raw).unwrap();
        copies.push(raw);
    }
    let planned = plan(folder.path());
    let moved = planned.actions.iter().filter(|action| action.doing == Doing::Place);
    let texts: Vec<_> = moved.map(|action| &action.text).collect();
    assert!(
        texts.len() == 2
            && texts
                .iter()
                .all(|text| text.contains("is there already: it is moved away")),
        "{texts:?}"
    );
    let report = mend(folder.path());
    assert!(snapshot_of_files(&orders) == whole);
    let quarantine = report.quarantine.unwrap();
    for (log, raw) in [777, 778].into_iter().zip(copies) {
        let log = StreamId(log).to_string();
        let kept = quarantine
            .join("segment/logs")
            .join(&log)
            .join(files[0].file_name().unwrap());
        assert!(fs::read(kept).unwrap() == raw, "{log}");
        let reason = fs::read_to_string(quarantine.join("REASON.txt")).unwrap();
        assert!(reason.contains(&format!("segment/logs/{log}/")), "{reason}");
    }
}

/// Somebody put a copy of a log's folder beside it, with its label: after a repair nothing is left that a start or a verification
/// would speak of.
#[test]
fn the_folder_of_a_copy_goes_to_quarantine_with_its_files() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _) = of_many_files(folder.path());
    let orders = log_folder(folder.path(), fixture.log("ORDERS"));
    let whole = snapshot_of_files(&orders);
    let copy = log_folder(folder.path(), StreamId(0x777));
    copy_folder(&orders, &copy);
    let planned = plan(folder.path());
    let last = planned.actions.last().unwrap();
    assert_eq!(
        (last.doing, &*last.log.clone().unwrap()),
        (Doing::Folder, "0000000000000777")
    );
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    assert!(report.actions.iter().all(|action| action.outcome == Outcome::Done));
    assert!(!copy.exists() && snapshot_of_files(&orders) == whole);
    let kept = report.quarantine.unwrap().join("segment/logs/0000000000000777");
    let names = |files: std::collections::BTreeMap<PathBuf, Vec<u8>>, of: &Path| -> Vec<_> {
        let relative = |(path, raw): (PathBuf, Vec<u8>)| (path.strip_prefix(of).unwrap().to_path_buf(), raw);
        files.into_iter().map(relative).collect()
    };
    assert!(
        names(snapshot_of_files(&kept), &kept) == names(whole, &orders),
        "all of it is kept"
    );
    assert_nothing_is_said(folder.path());
}

/// An earlier repair left such a folder.
#[test]
fn a_folder_with_the_label_of_another_log_alone_goes_to_quarantine() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let left = log_folder(folder.path(), StreamId(0x777));
    fs::create_dir(&left).unwrap();
    let label = log_folder(folder.path(), fixture.log("ORDERS")).join("label");
    fs::copy(&label, left.join("label")).unwrap();
    let report = mend(folder.path());
    assert_eq!((report.actions.len(), report.is_damaged()), (1, false), "{report:#?}");
    let kept = report.quarantine.unwrap().join("segment/logs/0000000000000777/label");
    assert!(!left.exists() && fs::read(kept).unwrap() == fs::read(label).unwrap());
    assert_nothing_is_said(folder.path());
}
