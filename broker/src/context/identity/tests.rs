use super::Identity;

#[test]
fn an_id_has_the_form_of_a_server_key() {
    let id = Identity::new(None).id;
    assert_eq!(id.len(), 56);
    assert!(weir_jwt::key::is_server(&id));
    assert_ne!(id, Identity::new(None).id);
}
