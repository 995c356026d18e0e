//! `palisade replay orders`: which segments the customers of an order history are in.
mod book;
mod cdnow;
mod cli;
mod csv;
mod load;
mod moment;
mod order;
mod report;

use std::fmt::Write;
use std::io;
use std::path::Path;

use palisade::client::{Secret, UserId};
use palisade::config::Config;
use palisade::segment::{Change, Event, Keeping, OrderKey, Timestamp};

use self::book::{Book, OtherAmount};
use self::cli::Format;
pub(crate) use self::cli::Orders;
use self::load::Load;
use self::moment::Moment;
use self::order::{Order, Wrong};
use self::report::{LeftOut, Report};
use crate::failure::Failure;
use crate::replay::progress::Progress;
use crate::replay::source::{self, Line};

/// The report on an order history, as text to print.
pub(crate) fn run(arguments: &Orders) -> Result<String, Failure> {
    let keeping = keeping(arguments)?;
    let as_of = arguments.at.unwrap_or_else(Moment::now);
    let at = as_of.timestamp().unwrap_or(Timestamp::from_millis(0));
    let configured = Config::default().secret()?;
    let is_secret_shared = configured.is_some();
    let secret = match configured {
        Some(secret) => secret,
        None => Secret::random()?,
    };
    let mut load = match &arguments.redis {
        None => None,
        Some(url) => Some(Load::new(url.as_deref(), arguments, &keeping)?),
    };
    let mut book = Book::new(arguments.format == Format::Csv, arguments.lines);
    let mut later = 0;
    read(
        &arguments.file,
        arguments.format,
        &keeping,
        |line, order| {
            if order.at > at {
                later += 1;
                return Ok(());
            }
            let place = || format!("{}:{line}", arguments.file.display());
            let change = change(order, &secret);
            book.apply(&change).map_err(|OtherAmount(before)| {
            let id = order.id.escape_debug();
            let [before, amount] = [before, order.amount].map(dollars);
            Failure::Input(format!(
                "{}: the order `{id}` cannot be of {amount} here, since it was of {before} before: allowed is one amount for an \
                 order, or --lines items where each line is an item of its order",
                place()
            ))
        })?;
            let Some(load) = &mut load else { return Ok(()) };
            // Loaded under a secret that ends with this run, the customer would be known to nobody, and counted once more
            // at the next load.
            if !is_secret_shared && change.customer.as_str().starts_with('~') {
                return Err(Failure::Setting(format!(
                    "{}: `customer_id` cannot be `{}` without PALISADE_SECRET, since such an id is hashed with the secret of \
                 the service: set it and load the file again, or allowed is 1 to 64 characters of `A-Za-z0-9._@-`",
                    place(),
                    order.customer.escape_debug()
                )));
            }
            // A further line may still change what has an id.
            if book.keeps_orders() {
                Ok(())
            } else {
                load.add(change)
            }
        },
    )?;
    let report = match &mut load {
        None => Report::new(book.records(), &keeping.criteria, at),
        Some(load) => {
            for change in book.orders() {
                load.add(change)?;
            }
            load.flush()?;
            let records = load.records(&keeping, &book)?;
            Report::new(&records, &keeping.criteria, at)
        }
    };
    if !arguments.json {
        let repeated = book.repeated;
        return Ok(report.print(as_of.0, &LeftOut { later, repeated }));
    }
    let mut json = serde_json::to_string(&report)
        .map_err(|error| Failure::Output(format!("the report cannot be written: {error}")))?;
    json.push('\n');
    Ok(json)
}

/// The settings, which must not contradict each other.
fn keeping(arguments: &Orders) -> Result<Keeping, Failure> {
    let mut keeping = Keeping::new();
    keeping.retention = arguments.retention;
    keeping.criteria.vip_spend = arguments.vip_spend;
    keeping.criteria.vip_orders = arguments.vip_orders;
    keeping.criteria.at_risk_after = arguments.at_risk_after;
    keeping.criteria.churned_after = arguments.churned_after;
    for (option, value, allowed, holds) in [
        (
            "--at-risk-after",
            arguments.at_risk_after,
            "less than --churned-after",
            arguments.at_risk_after < arguments.churned_after,
        ),
        (
            "--retention",
            arguments.retention,
            "more than --churned-after",
            arguments.retention > arguments.churned_after,
        ),
    ] {
        if !holds {
            // Days are what is written, and not months, which humantime prefers.
            let value = match value.as_secs() {
                seconds if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
                _ => humantime::format_duration(value).to_string(),
            };
            return Err(Failure::Setting(format!(
                "`{option}` cannot be `{value}`: allowed is {allowed}"
            )));
        }
    }
    Ok(keeping)
}

/// As the file writes it.
fn dollars(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn change(order: Order<'_>, secret: &Secret) -> Change {
    Change {
        customer: UserId::new(order.customer, secret),
        at: order.at,
        event: Event::Order {
            key: OrderKey::of_order(order.id),
            amount: order.amount,
        },
    }
}

/// Hands each order to `visit`, with the number of its first line, until a line is wrong or that fails.
fn read(
    file: &Path,
    format: Format,
    keeping: &Keeping,
    mut visit: impl FnMut(u64, Order<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let name = file.display();
    let unread = |error: &dyn std::fmt::Display| Failure::Input(format!("{name}: {error}"));
    let wrong = |number: u64, wrong: &Wrong| Failure::Input(format!("{name}:{number}: {wrong}"));
    let progress = Progress::of_bytes(source::total_size([file]));
    let source = source::open(file).map_err(|error| unread(&error))?;

    let mut number = 0;
    let mut number_text = String::new();
    let mut records = csv::Records::default();
    let read = source::for_each_line(progress.reading(source), |line| {
        number += 1;
        let Line::Whole(line) = line else {
            return Err(Ended::By(wrong(number, &Wrong::too_long())));
        };
        let begins = records.begins(number);
        let order = match format {
            Format::Cdnow => {
                number_text.clear();
                // Writing to a string cannot fail.
                let _ = write!(number_text, "{number}");
                cdnow::parse(line, number, &number_text).map_err(|why| wrong(number, &why))
            }
            Format::Csv => {
                let order = records.line(line, number, keeping.criteria.currency);
                order.map_err(|why| wrong(begins, &why))
            }
        };
        order
            .and_then(|order| order.map_or(Ok(()), |order| visit(begins, order)))
            .map_err(Ended::By)
    });
    match read {
        Ok(()) => {}
        Err(Ended::Unread(error)) => return Err(unread(&error)),
        Err(Ended::By(failure)) => return Err(failure),
    }
    if format == Format::Csv {
        let begins = records.begins(number.max(1));
        records.end().map_err(|why| wrong(begins, &why))?;
    }
    Ok(())
}

/// Why reading ended before the file did.
enum Ended {
    Unread(io::Error),
    By(Failure),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}
