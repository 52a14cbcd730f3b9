use super::*;

#[test]
fn a_name_is_one_segment_whatever_stands_in_it() {
    for (name, want) in [
        ("default", "default"),
        ("a.b-c", "a.b-c"),
        ("default#", "default%23"),
        ("default?dryRun=All&x=", "default%3FdryRun%3DAll%26x%3D"),
        ("../../team-a/serviceaccounts/default", "..%2F..%2Fteam-a%2Fserviceaccounts%2Fdefault"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("%2e%2e", "%252e%252e"),
        ("a b\n\u{fc}", "a%20b%0A%C3%BC"),
    ] {
        assert_eq!(segment(name), want);
    }
}

#[test]
fn a_dry_run_is_what_was_asked_for_and_not_what_a_path_says() {
    let request = |method, path: &str, dry_run| Request::new(Stage::Replace, method, path).dry_run(dry_run);
    for (path, dry_run, uri, writes) in [
        ("/x", false, "/x", true),
        ("/x", true, "/x?dryRun=All", false),
        ("/x?fieldManager=regprov", true, "/x?fieldManager=regprov&dryRun=All", false),
        ("/x?y=dryRun=All", false, "/x?y=dryRun=All", true),
    ] {
        for method in [Method::Put, Method::Patch, Method::Delete] {
            let request = request(method, path, dry_run);
            assert_eq!((&*request.uri(), request.writes()), (uri, writes));
        }
    }
    assert!(!request(Method::Get, "/x", false).writes() && !request(Method::Post, "/x", true).writes());
}
