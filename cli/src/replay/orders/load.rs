//! The way of a history into Redis, and back.

use palisade::client::UserId;
use palisade::segment::store::CustomerStore;
use palisade::segment::{Change, Keeping, Record};
use palisade::store::redis::{CustomerLoader, RedisStore};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::book::Book;
use super::cli::Orders;
use crate::failure::Failure;
use crate::replay::progress::Progress;

/// Loads changes into Redis, some thousands at a time.
pub(super) struct Load {
    runtime: Runtime,
    store: RedisStore,
    loader: CustomerLoader,
    waiting: Vec<Change>,
}

/// The URL of an argument, which every user of the machine may read in the list of processes.
fn without_password(url: &str) -> Result<&str, Failure> {
    // No path and no host has an `@`, so what stands before one is a user or a password.
    if url.contains('@') || url.contains("pass=") {
        let why = "--redis cannot be a URL with a password, which everybody on this machine may read in the list of processes: \
                   allowed is --redis alone, with the URL in the environment variable REDIS_URL";
        return Err(Failure::Setting(why.to_owned()));
    }
    Ok(url)
}

fn of_environment() -> Result<String, Failure> {
    let url = std::env::var_os("REDIS_URL").filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| {
        let why = "--redis has no URL, and the environment no REDIS_URL: allowed is one of them";
        Failure::Setting(why.to_owned())
    })?;
    // What is no text is refused like the empty URL.
    Ok(url.into_string().unwrap_or_default())
}

impl Load {
    const CHUNK: usize = 5_000;
    /// Customers that are asked for at one time.
    const ASKED: usize = 256;

    /// Into the server of this URL, or else of the environment's.
    pub(super) fn new(
        url: Option<&str>,
        arguments: &Orders,
        keeping: &Keeping,
    ) -> Result<Self, Failure> {
        let (url, named) = match url {
            Some(url) => (without_password(url)?.to_owned(), "--redis"),
            None => (of_environment()?, "REDIS_URL in the environment"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Store(format!("the load cannot start: {error}")))?;
        let _inside = runtime.enter();
        let store = RedisStore::builder(&url)
            .prefix(&arguments.prefix)
            .deadline(std::time::Duration::from_secs(10))
            .build()
            .map_err(|error| match error.key() {
                "redis_url" => Failure::Setting(format!("{named}: {error}")),
                _ => error.into(),
            })?;
        let loader = store.customer_loader(keeping);
        drop(_inside);
        Ok(Self {
            runtime,
            store,
            loader,
            waiting: Vec::with_capacity(Self::CHUNK),
        })
    }

    pub(super) fn add(&mut self, change: Change) -> Result<(), Failure> {
        self.waiting.push(change);
        if self.waiting.len() < Self::CHUNK {
            return Ok(());
        }
        self.flush()
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let loaded = self.runtime.block_on(self.loader.load(&self.waiting));
        self.waiting.clear();
        loaded.map(drop).map_err(failed)
    }

    /// What the store knows of the customers of a book.
    pub(super) fn records(&self, keeping: &Keeping, book: &Book) -> Result<Vec<Record>, Failure> {
        let customers: Vec<&UserId> = book.customers().collect();
        let progress = Progress::of_customers(customers.len() as u64);
        let keeper = self.store.keep_customers(keeping);
        let mut records = Vec::with_capacity(customers.len());
        for customers in customers.chunks(Self::ASKED) {
            let fetched = customers.iter().map(|customer| keeper.fetch(customer));
            let fetched: Vec<_> = fetched.collect();
            let mut under_way = JoinSet::new();
            self.runtime.block_on(async {
                for fetched in fetched {
                    under_way.spawn(fetched);
                }
                while let Some(fetched) = under_way.join_next().await {
                    let record = fetched
                        .map_err(|error| Failure::Store(format!("the report failed: {error}")))?;
                    records.extend(record.map_err(failed)?);
                }
                Ok::<(), Failure>(())
            })?;
            progress.advance(customers.len() as u64);
        }
        Ok(records)
    }
}

fn failed(error: impl std::error::Error) -> Failure {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A wrapper says what it wraps.
        if !why.ends_with(&cause_text) {
            why = format!("{why}: {cause_text}");
        }
        source = cause.source();
    }
    Failure::Store(format!("{why}; load the file again when it is back"))
}
