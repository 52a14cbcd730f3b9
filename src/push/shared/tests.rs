//! Who leads, who waits, and what is said of it.

use super::super::job::sha256;
use super::*;
use crate::model::Change;

fn job(item: usize, content: &[u8], old: Option<&[u8]>) -> Job {
    Job {
        what: What::Item(item),
        path: RemotePath::parse(&format!("/home/ops/{item}")).unwrap(),
        missing: Vec::new(),
        dir_mode: 0o700,
        content: Some(content.to_vec().into()),
        old: old.map(sha256),
        mode: 0o600,
        uid: 0,
        gid: 0,
        change: Change::Created,
        notes: None,
        diff: Vec::new(),
    }
}

/// Two files, 0 and 1, on one NFS.
fn places() -> BTreeMap<What, Place> {
    let place = |i: usize| Place { name: Name::Network("nfs", format!("nfs01:/home/ops/{i}")), dirs: vec![("home/ops".into(), 7)], inode: None };
    (0..2).map(|i| (What::Item(i), place(i))).collect()
}

fn hosts<const N: usize>() -> (Arc<Registry>, [Sharing; N]) {
    let registry = Arc::new(Registry::default());
    let hosts = std::array::from_fn(|i| Sharing::new(Some(&registry), &format!("n{i}")));
    (registry, hosts)
}

fn claim(host: &mut Sharing, items: &[usize]) -> Vec<usize> {
    let jobs: Vec<Job> = items.iter().map(|i| job(*i, b"new", None)).collect();
    let _ = host.looks().count();
    host.claim(&jobs, &places()).iter().filter_map(What::item).collect()
}

#[tokio::test(start_paused = true)]
async fn leads_that_cross_end_since_who_waits_leads_nothing() {
    let (_, [mut a, mut b]) = hosts();
    assert_eq!((claim(&mut a, &[0]), claim(&mut b, &[1])), (vec![], vec![]));
    assert_eq!((claim(&mut a, &[0, 1]), claim(&mut b, &[0, 1])), (vec![1], vec![0]));
    let (clock, start) = (Clock::default(), tokio::time::Instant::now());
    let each = Duration::from_secs(60);
    let (a, b) = tokio::join!(a.wait(&clock, each), b.wait(&clock, each));
    assert_eq!((a, b, start.elapsed()), (BTreeSet::from([What::Item(1)]), BTreeSet::from([What::Item(0)]), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_a_deadline_of_its_own_and_counts_against_no_other() {
    let (_, [mut a, mut b]) = hosts();
    assert_eq!((claim(&mut a, &[0]), claim(&mut b, &[0])), (vec![], vec![0]));
    let (clock, start) = (Clock::default(), tokio::time::Instant::now());
    let waited = clock.limit(Duration::from_secs(1), b.wait(&clock, Duration::from_secs(60))).await;
    assert_eq!((waited, start.elapsed()), (Some(BTreeSet::from([What::Item(0)])), Duration::from_secs(60)));
    assert!(claim(&mut b, &[0]).is_empty(), "it writes beside the leader then");
}

#[test]
fn what_becomes_of_a_lead_says_what_the_others_do() {
    // Lost once: another leads. Lost twice: everybody writes.
    let (registry, [mut a, mut b, mut c, mut d]) = hosts();
    assert_eq!((claim(&mut a, &[0]), claim(&mut b, &[0])), (vec![], vec![0]));
    drop(a);
    b.waits.clear();
    assert_eq!((claim(&mut b, &[0]), claim(&mut c, &[0])), (vec![], vec![0]));
    drop(b);
    c.waits.clear();
    assert_eq!((claim(&mut c, &[0]), claim(&mut d, &[0])), (vec![], vec![]));
    assert!(c.leads.is_empty() && !registry.state().groups[0].led);
    // It cannot be written there: everybody tries.
    let (_, [mut a, mut b, mut c]) = hosts();
    assert_eq!((claim(&mut a, &[0]), claim(&mut b, &[0])), (vec![], vec![0]));
    a.failed(&What::Item(0));
    b.waits.clear();
    assert_eq!((claim(&mut b, &[0]), claim(&mut c, &[0])), (vec![], vec![]));
    // Found as it should be: another leads, and nothing was lost.
    let (registry, [mut a, mut b]) = hosts();
    assert!(claim(&mut a, &[0]).is_empty());
    assert_eq!(a.via(&What::Item(0), &places()[&What::Item(0)]), None);
    assert_eq!((claim(&mut b, &[0]), registry.state().groups[0].losses), (vec![], 0));
}

#[test]
fn the_note_is_for_the_very_file_that_was_read_back() {
    let (_, [mut a, mut b, mut c]) = hosts();
    let seen = |inode| Place { inode, ..places()[&What::Item(0)].clone() };
    let _ = b.looks().count();
    assert!(claim(&mut a, &[0]).is_empty());
    a.written(&job(0, b"new", None), Some(11));
    let file = What::Item(0);
    assert_eq!(b.via(&file, &seen(Some(11))).as_deref(), Some("shared via n0"));
    assert_eq!((b.via(&file, &seen(Some(12))), b.via(&file, &seen(None)), a.via(&file, &seen(Some(11)))), (None, None, None));
    // Who looked before looks again; who does not see it then does so a few times; who sees it and wants more writes.
    assert_eq!(b.claim(&[job(0, b"other", None)], &places()).len(), 1);
    assert_eq!(claim(&mut c, &[0]), [0]);
    c.waits.clear();
    assert_eq!(c.claim(&[job(0, b"new and more", Some(b"new"))], &places()).len(), 0);
}

#[test]
fn a_file_that_goes_is_led_like_others() {
    let (_, [mut a, mut b, mut c]) = hosts();
    let what = What::Held(RemotePath::parse("/home/ops/0").unwrap());
    let goes = || Job { what: what.clone(), content: None, ..job(0, b"", Some(b"old")) };
    let place = |inode| Place { inode, ..places()[&What::Item(0)].clone() };
    let claim = |host: &mut Sharing, place: Place| {
        let _ = host.looks().count();
        host.claim(&[goes()], &BTreeMap::from([(what.clone(), place)])).len()
    };
    assert_eq!((claim(&mut a, place(Some(7))), claim(&mut b, place(Some(7)))), (0, 1));
    a.written(&goes(), None);
    b.waits.clear();
    let _ = b.looks().count();
    assert_eq!(b.via(&what, &place(None)).as_deref(), Some("shared via n0"));
    assert_eq!(b.via(&what, &place(Some(7))), None, "it is still there");
    // Who never waited for it may see another machine's absent file.
    assert_eq!(c.via(&what, &place(None)), None);
    assert_eq!(claim(&mut c, place(Some(7))), 1, "it was seen late; it looks again");
}
