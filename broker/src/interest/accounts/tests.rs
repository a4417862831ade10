use super::*;

#[test]
fn an_account_is_found_by_its_name_and_its_number() {
    let accounts = Accounts::default();
    let a = accounts.open("A");
    assert!(Arc::ptr_eq(&a, &accounts.open("A")), "there is one of each name");
    assert!(Arc::ptr_eq(&a, &accounts.get("A").unwrap()));
    assert!(Arc::ptr_eq(&a, &accounts.numbered(a.number).unwrap()));
    assert!(accounts.get("B").is_none() && accounts.numbered(3).is_none());
    let names: Vec<_> = accounts.all().iter().map(|account| account.name.clone()).collect();
    assert_eq!(names, [GLOBAL.into(), SYSTEM.into(), Box::from("A")]);
}
