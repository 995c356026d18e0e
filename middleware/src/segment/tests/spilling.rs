//! What the store does not take by the end, and the next start.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::segment::spill::{parse, push_line};

/// A folder of a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let secret = Secret::random().unwrap();
        let name = secret.hash(b"folder", b"").replace('~', "palisade-");
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("spill")
    }

    /// The one file in it.
    fn only(&self) -> PathBuf {
        let names = self.names();
        let [name] = &names[..] else {
            panic!("{names:?}")
        };
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn shop(file: &Path) -> Shop {
    Shop::with(|builder| builder.spill_file(file))
}

/// A process in an outage from its start to its end, with what it does.
fn outage<F: Future<Output = ()>>(
    file: &Path,
    work: impl FnOnce(Arc<Shop>) -> F + Send,
) -> Flushed {
    std::thread::scope(|scope| {
        let process = scope.spawn(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().build().unwrap().block_on(async {
                let shop = Arc::new(shop(file));
                shop.store.fail(true);
                work(Arc::clone(&shop)).await;
                shop.customers().flush(Duration::from_millis(50)).await
            })
        });
        process.join().unwrap()
    })
}

/// Two orders and a refund of Ada, and a visit of Bob.
fn ended_in_an_outage(file: &Path) -> Flushed {
    outage(file, |shop| async move {
        shop.respond("ada", StatusCode::OK, order("A-1", 500)).await;
        shop.respond("ada", StatusCode::OK, order("A-2", 70)).await;
        let refund = CustomerEvents::new().refund(Refund::of("A-1", usd(9)));
        shop.respond("ada", StatusCode::OK, refund).await;
        shop.customers().record_activity(&user("bob"));
    })
}

#[tokio::test]
async fn what_the_store_did_not_take_is_there_once_after_the_next_start() {
    let folder = Folder::new();
    let flushed = ended_in_an_outage(&folder.file());
    assert!(flushed.is_complete() && flushed.spilled >= 4, "{flushed:?}");
    let file = folder.only();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let kept = fs::read(&file).unwrap();
    let next = shop(&folder.file());
    until("written", || folder.names().is_empty()).await;
    let ada = next.store.record("ada").unwrap();
    assert_eq!((ada.orders, ada.spend), (2, 561));
    assert!(next.store.record("bob").is_some());
    // The process ended before it could remove the file: read twice, it changes nothing.
    fs::write(&file, kept).unwrap();
    let again = Shop {
        layer: ClassifyLayer::builder(next.store.clone())
            .spill_file(folder.file())
            .build()
            .unwrap(),
        ..shop(&folder.0.join("another"))
    };
    until("written again", || folder.names().is_empty()).await;
    assert_eq!(next.store.record("ada"), Some(ada));
    drop(again);
}

#[tokio::test]
async fn a_start_in_the_same_outage_loses_nothing_of_either_process() {
    let folder = Folder::new();
    let first = ended_in_an_outage(&folder.file());
    let before = folder.only();
    let second = outage(&folder.file(), |shop| async move {
        shop.respond("cleo", StatusCode::OK, order("C-1", 3)).await;
    });
    assert!(second.is_complete() && second.spilled > first.spilled);
    assert_ne!(folder.only(), before, "one file in place of the other");
    let third = shop(&folder.file());
    until("written", || folder.names().is_empty()).await;
    assert_eq!(third.store.record("ada").unwrap().orders, 2);
    assert_eq!(third.store.record("cleo").unwrap().spend, 3);
}

#[tokio::test]
async fn processes_that_share_the_name_do_not_write_over_each_other() {
    let folder = Folder::new();
    // Both are there before either ends.
    let file = folder.file();
    let first = outage(&file, |one| async {
        let one = one;
        one.respond("ada", StatusCode::OK, order("A-1", 1)).await;
        let second = outage(&file, |other| async move {
            other.respond("bob", StatusCode::OK, order("B-1", 1)).await;
        });
        assert!(second.is_complete(), "{second:?}");
    });
    assert!(first.is_complete(), "{first:?}");
    assert_eq!(folder.names().len(), 2);
    let next = Shop::with(|builder| builder.spill_file(folder.file()));
    until("written", || folder.names().is_empty()).await;
    assert_eq!(next.store.record("ada").unwrap().orders, 1);
    assert_eq!(next.store.record("bob").unwrap().orders, 1);
}

#[tokio::test]
async fn a_broken_line_loses_that_line_alone() {
    let folder = Folder::new();
    let key = "0".repeat(24);
    let lines = [
        format!("order {START} 5 {key} ada\n"),
        "order yesterday".to_owned() + "\n",
        "\u{fffd}\n".to_owned(),
        format!("order {START} -5 {} ada\n", "1".repeat(24)),
        format!("activity {START} bob\n"),
        format!("order {START} 7 {} ad", "2".repeat(24)),
    ];
    let text = "palisade-changes 1 USD\n".to_owned() + &lines.concat();
    fs::write(folder.0.join("spill.0123456789abcdef"), text).unwrap();
    let shop = shop(&folder.file());
    until("written", || folder.names().is_empty()).await;
    let ada = shop.store.record("ada").unwrap();
    assert_eq!((ada.orders, ada.spend), (1, 5));
    assert!(shop.store.record("bob").is_some() && shop.store.record("ad").is_none());
}

#[tokio::test]
async fn a_file_of_something_else_stays_as_it_is() {
    for text in ["", "a letter\n", "palisade-changes 1 EUR\n"] {
        let folder = Folder::new();
        let other = folder.0.join("spill.0123456789abcdef");
        fs::write(&other, text).unwrap();
        let flushed = ended_in_an_outage(&folder.file());
        assert!(flushed.is_complete(), "{flushed:?}");
        assert_eq!(fs::read_to_string(&other).unwrap(), text);
        assert_eq!(folder.names().len(), 2);
    }
}

#[tokio::test]
async fn without_a_file_the_rest_is_counted_as_left() {
    let shop = Shop::new();
    shop.respond("ada", StatusCode::OK, order("A-1", 5)).await;
    shop.flush().await;
    shop.store.fail(true);
    shop.respond("ada", StatusCode::OK, order("A-2", 5)).await;
    let flushed = shop.customers().flush(Duration::from_millis(50)).await;
    assert!(!flushed.is_complete() && flushed.left >= 1 && flushed.spilled == 0);
    shop.store.fail(false);
    let flushed = shop.customers().flush(Duration::from_secs(10)).await;
    assert!(flushed.is_complete() && flushed.written >= 1, "{flushed:?}");
}

#[test]
fn a_file_that_could_not_be_written_is_refused_by_name() {
    let folder = Folder::new();
    let refused = |path: PathBuf| {
        let builder = ClassifyLayer::builder(Fake::new()).spill_file(&path);
        let text = builder.build().unwrap_err().to_string();
        let named = format!("`spill_file` cannot be `{}`: ", path.display());
        assert!(text.starts_with(&named), "{text}");
    };
    refused(folder.0.join("none").join("spill"));
    refused(folder.0.clone());
    refused(PathBuf::from("/"));
    assert!(folder.names().is_empty(), "nothing of the trial is left");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_gone_in_an_outage_is_written_for_a_second_and_then_leaves_no_task() {
    let folder = Folder::new();
    for file in [None, Some(folder.file())] {
        let shop = Shop::with(|builder| match &file {
            Some(path) => builder.spill_file(path),
            None => builder,
        });
        shop.store.fail(true);
        shop.respond("ada", StatusCode::OK, order("A-1", 5)).await;
        let (tally, tasks) = (shop.tally(), tokio::runtime::Handle::current().metrics());
        drop(shop);
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_ne!(tasks.num_alive_tasks(), 0, "it still tries");
        until("no task", || tasks.num_alive_tasks() == 0).await;
        let lost = tally.changes(ChangeKind::Order, ChangeResult::Lost);
        assert_eq!(lost, u64::from(file.is_none()));
    }
    folder.only();
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_gone_leaves_no_task_and_loses_no_activity() {
    let shop = Shop::new();
    for _ in 0..2 {
        shop.visit("ada").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let (store, last) = (shop.store.clone(), Timestamp::from(shop.wall.now()));
    assert!(
        store.record("ada").unwrap().last_activity < last,
        "it waits for its minute"
    );
    drop(shop);
    let tasks = tokio::runtime::Handle::current().metrics();
    until("no task", || tasks.num_alive_tasks() == 0).await;
    let written = store.record("ada").unwrap().last_activity;
    assert_eq!(last.since(written), Duration::from_secs(5));
}

proptest! {
    #[test]
    fn a_change_is_read_as_it_was_written(
        id in "[a-z@._-]{1,64}|[^a]{0,9}", at: u64, amount in 0..=(1_i64 << 53) - 1, key: [u8; 12], kind in 0..3,
    ) {
        let (amount, key) = (amount, OrderKey::from(key));
        let change = Change {
            customer: user(&id),
            at: Timestamp::from_millis(at),
            event: match kind {
                0 => Event::Activity,
                1 => Event::Order { key, amount },
                _ => Event::Refund { key, amount },
            },
        };
        let mut line = String::new();
        push_line(&mut line, &change);
        prop_assert_eq!(parse(line.as_bytes()), Ok(change));
        // No part of the line is taken for another change.
        for end in 0..line.len() {
            prop_assert!(parse(&line.as_bytes()[..end]).is_err());
        }
    }

    #[test]
    fn no_line_does_harm(line: Vec<u8>) {
        let _ = parse(&line);
    }
}
