//! The layer over a store that a test can hold up, fail and look into.

mod cache;
mod events;
mod lookups;
mod model;
mod spilling;
mod transitions;
mod writing;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};

use super::store::{Applied, CustomerStore, KeepCustomers, Reply, Sweep};
use super::*;
use crate::model::{Client, Country, Secret, StoreError, StoreErrorKind, UserId};

const DAY: u64 = 86_400_000;
/// 2026-01-01 00:00 UTC.
const START: u64 = 1_767_225_600_000;

/// A wall clock that stands until a test moves it, but for the time that tokio's passes.
#[derive(Clone)]
struct Wall {
    millis: Arc<AtomicU64>,
    since: tokio::time::Instant,
}

impl Wall {
    fn new() -> Self {
        Self {
            millis: Arc::new(AtomicU64::new(START)),
            since: tokio::time::Instant::now(),
        }
    }

    fn advance(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }
}

impl WallClock for Wall {
    fn now(&self) -> SystemTime {
        let millis = Duration::from_millis(self.millis.load(Ordering::Relaxed));
        SystemTime::UNIX_EPOCH + millis + self.since.elapsed()
    }
}

/// A store that answers as told. Its records are the plainest reading of the port's contract.
#[derive(Clone)]
struct Fake(Arc<Inside>);

struct Inside {
    customers: Mutex<HashMap<UserId, (Record, Vec<OrderKey>)>>,
    batches: Mutex<Vec<Vec<Change>>>,
    fetches: AtomicUsize,
    fails: AtomicBool,
    /// Whether a fetch waits for a permit of the gate.
    gated: AtomicBool,
    gate: Semaphore,
    lease: AtomicBool,
    sweeps: AtomicUsize,
}

impl Fake {
    fn new() -> Self {
        Self(Arc::new(Inside {
            customers: Mutex::default(),
            batches: Mutex::default(),
            fetches: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
            gated: AtomicBool::new(false),
            gate: Semaphore::new(0),
            lease: AtomicBool::new(true),
            sweeps: AtomicUsize::new(0),
        }))
    }

    fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::Relaxed);
    }

    fn hold(&self) {
        self.0.gated.store(true, Ordering::Relaxed);
    }

    fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::Relaxed)
    }

    fn record(&self, name: &str) -> Option<Record> {
        let customers = self.0.customers.lock().unwrap();
        customers.get(&user(name)).map(|(record, _)| *record)
    }

    fn put(&self, name: &str, record: Record) {
        let mut customers = self.0.customers.lock().unwrap();
        customers.insert(user(name), (record, Vec::new()));
    }

    /// As a Redis does that starts without its data.
    fn lose(&self, name: &str) {
        self.0.customers.lock().unwrap().remove(&user(name));
    }

    /// Every change that the store took, in order.
    fn written(&self) -> Vec<Change> {
        self.0.batches.lock().unwrap().concat()
    }

    /// How many activities the store took of a customer.
    fn activities(&self, name: &str) -> usize {
        let written = self.written();
        let of =
            |change: &&Change| change.customer == user(name) && change.event == Event::Activity;
        written.iter().filter(of).count()
    }
}

impl Inside {
    fn answer<T>(&self, value: T) -> Result<T, StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            Err(StoreError::new(StoreErrorKind::Timeout))
        } else {
            Ok(value)
        }
    }

    fn apply(&self, change: &Change) -> Applied {
        let mut customers = self.customers.lock().unwrap();
        let (record, counted) = customers
            .entry(change.customer.clone())
            .or_insert_with(|| (Record::seen(change.at), Vec::new()));
        let fresh = match change.event {
            Event::Activity => true,
            Event::Order { key, .. } | Event::Refund { key, .. } => {
                let fresh = !counted.contains(&key);
                counted.push(key);
                fresh
            }
        };
        if !matches!(change.event, Event::Refund { .. }) {
            record.first_activity = record.first_activity.min(change.at);
            record.last_activity = record.last_activity.max(change.at);
        }
        match change.event {
            Event::Order { amount, .. } if fresh => {
                record.spend += amount;
                record.orders += 1;
            }
            Event::Refund { amount, .. } if fresh => record.spend -= amount,
            _ => {}
        }
        Applied {
            record: Some(*record),
            fresh,
        }
    }
}

impl CustomerStore for Fake {
    fn keep_customers(&self, _: &Keeping) -> Arc<dyn KeepCustomers> {
        Arc::new(self.clone())
    }
}

impl KeepCustomers for Fake {
    fn fetch(&self, customer: &UserId) -> Reply<Option<Record>> {
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
        let (store, customer) = (Arc::clone(&self.0), customer.clone());
        Reply::pending(async move {
            if store.gated.load(Ordering::Relaxed) {
                store.gate.acquire().await.unwrap().forget();
            }
            let customers = store.customers.lock().unwrap();
            store.answer(customers.get(&customer).map(|(record, _)| *record))
        })
    }

    fn apply(&self, changes: &[Change]) -> Reply<Vec<Applied>> {
        let (store, changes) = (Arc::clone(&self.0), changes.to_vec());
        Reply::pending(async move {
            store.answer(())?;
            let applied = changes.iter().map(|change| store.apply(change)).collect();
            store.batches.lock().unwrap().push(changes);
            Ok(applied)
        })
    }

    fn erase(&self, customer: &UserId, _: Timestamp) -> Reply<bool> {
        let (store, customer) = (Arc::clone(&self.0), customer.clone());
        Reply::pending(async move {
            let erased = store.customers.lock().unwrap().remove(&customer).is_some();
            store.answer(erased)
        })
    }

    fn export(&self, customer: &UserId) -> Reply<Option<Export>> {
        let customers = self.0.customers.lock().unwrap();
        let export = customers.get(customer).map(|(record, counted)| Export {
            record: *record,
            counted: counted.clone(),
        });
        Reply::pending(async move { Ok(export) })
    }

    fn sweep(&self, _: Timestamp) -> Reply<Option<Sweep>> {
        self.0.sweeps.fetch_add(1, Ordering::Relaxed);
        let holds = self.0.lease.load(Ordering::Relaxed);
        let returning = self.0.customers.lock().unwrap().len() as u64;
        let sweep = self.0.answer(holds.then_some(Sweep {
            population: Population {
                returning,
                ..Population::default()
            },
            checked: 3,
            mended: 1,
        }));
        Reply::pending(async move { sweep })
    }
}

/// A layer with its store and its clock.
struct Shop {
    store: Fake,
    wall: Wall,
    layer: ClassifyLayer,
}

impl Shop {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(set: impl FnOnce(ClassifyLayerBuilder) -> ClassifyLayerBuilder) -> Self {
        let (store, wall) = (Fake::new(), Wall::new());
        let builder = ClassifyLayer::builder(store.clone()).clock(wall.clone());
        let layer = set(builder).build().unwrap();
        Self { store, wall, layer }
    }

    fn tally(&self) -> Arc<SegmentTally> {
        self.layer.tally().unwrap()
    }

    fn customers(&self) -> Customers {
        self.layer.customers().unwrap()
    }

    /// A visit without anything said by the handler: what the handler saw the customer to be.
    async fn visit(&self, name: &str) -> Option<Segment> {
        self.respond(name, StatusCode::OK, CustomerEvents::new())
            .await
    }

    async fn respond(
        &self,
        name: &str,
        status: StatusCode,
        events: CustomerEvents,
    ) -> Option<Segment> {
        self.send(request(name), status, events).await
    }

    fn send(
        &self,
        request: Request<()>,
        status: StatusCode,
        events: CustomerEvents,
    ) -> impl Future<Output = Option<Segment>> + Send + 'static {
        let service = self.layer.layer(service_fn(move |request: Request<()>| {
            let segment = request.extensions().get::<Segment>().copied();
            let mut response = Response::new(segment);
            *response.status_mut() = status;
            response.extensions_mut().insert(events.clone());
            std::future::ready(Ok::<_, Infallible>(response))
        }));
        let response = service.oneshot(request);
        async move { response.await.unwrap().into_body() }
    }

    /// Writes what is pending, all of it.
    async fn flush(&self) {
        let flushed = self.customers().flush(Duration::from_secs(10)).await;
        assert!(flushed.is_complete(), "{flushed:?}");
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name, &Secret::from_bytes(b"a secret of the tests"))
}

fn client(name: &str) -> Client {
    let mut client = Client::new([192, 0, 2, 1].into(), 64);
    client.user = Some(user(name));
    client.country = "GB".parse::<Country>().unwrap();
    client
}

fn request(name: &str) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(client(name));
    request
}

fn usd(cents: i64) -> Money {
    Money::new(cents, Currency::USD)
}

fn order(id: &str, cents: i64) -> CustomerEvents {
    CustomerEvents::new().order(Order::new(id, usd(cents)))
}

/// Lets tasks run until something holds; the paused clock goes on meanwhile.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("still not: {what}");
}
