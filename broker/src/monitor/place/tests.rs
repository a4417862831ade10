use super::*;

#[test]
fn paths_are_read_as_by_go() {
    let page = |path: &str| Place::Page(path.to_owned());
    let elsewhere = |path: &str| Place::Elsewhere(path.to_owned());
    for (path, place) in [
        ("/", page("/")),
        ("/varz", page("/varz")),
        ("/%76arz", page("/varz")),
        ("/varz/", page("/varz/")),
        ("/varz%2F", page("/varz%2F")),
        ("/%2e%2e/varz", page("/../varz")),
        ("//varz", elsewhere("/varz")),
        ("/varz//", elsewhere("/varz/")),
        ("/./varz", elsewhere("/varz")),
        ("/varz/.", elsewhere("/varz")),
        ("/varz/..", elsewhere("/")),
        ("/../varz", elsewhere("/varz")),
        ("/a/b/../../varz", elsewhere("/varz")),
        ("/varz%", Place::Broken),
        ("/varz%4", Place::Broken),
        ("/varz%zz", Place::Broken),
        ("varz", Place::Broken),
        ("*", Place::Broken),
        ("", Place::Broken),
    ] {
        assert_eq!(Place::of(path), place, "{path}");
    }
}
