//! The customers' scripts, behind typed wrappers.

use redis::{Cmd, Script};

use super::customer_replies::Member;
use super::keys::Prefix;
use super::scripts::Call;
use crate::model::UserId;
use crate::segment::{Change, Keeping, Timestamp};
use crate::store::ERASED_FOR;
use crate::store::Effect;

/// The scripts and the keys that all customers share.
pub(super) struct CustomerScripts {
    prefix: Prefix,
    indices: [String; 2],
    lease: String,
    apply: Source,
    erase: Source,
    begin: Source,
    check: Source,
    end: Source,
}

struct Source {
    text: &'static str,
    sha: String,
}

impl Source {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            sha: Script::new(text).get_hash().to_owned(),
        }
    }
}

/// The settings of a layer, as the scripts read them.
pub(super) struct Rules {
    retention: u64,
    vip_spend: i64,
    vip_orders: u64,
}

impl Rules {
    /// 2^53 - 1, up to which Lua's numbers are exact.
    const MOST: u64 = (1 << 53) - 1;
    /// Some 317 years: the server adds it to its own time, in 64 bits.
    pub(super) const LONGEST: u64 = 10_000_000_000_000;

    pub(super) fn of(keeping: &Keeping) -> Self {
        Self {
            retention: millis(keeping.retention).clamp(1, Self::LONGEST),
            vip_spend: keeping.criteria.vip_spend,
            vip_orders: keeping.criteria.vip_orders.min(Self::MOST),
        }
    }

    fn write(&self, command: &mut Cmd) {
        command.arg(self.retention);
        command.arg(self.vip_spend);
        command.arg(self.vip_orders);
    }
}

/// Rounded up: a moment in whole milliseconds is so long ago or longer exactly if it is this long ago or longer.
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A script with what writes its keys and arguments.
struct ScriptCall<'a, F> {
    source: &'a Source,
    write: F,
}

impl<F: Fn(&mut Cmd)> Call for ScriptCall<'_, F> {
    fn by_hash(&self) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.source.sha);
        (self.write)(&mut command);
        command
    }

    fn by_text(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.source.text);
        (self.write)(&mut command);
        command
    }
}

/// A command of the server's own.
struct Plain(Cmd);

impl Call for Plain {
    fn by_hash(&self) -> Cmd {
        self.0.clone()
    }

    fn by_text(&self) -> Cmd {
        self.0.clone()
    }
}

/// What a step of the sweep asks for.
#[derive(Debug, Clone)]
pub(super) struct Begin<'a> {
    pub(super) holder: &'a str,
    pub(super) lease_millis: u64,
    /// Which index is walked, 0 or 1, and the cursor of its walk.
    pub(super) walked: usize,
    pub(super) cursor: &'a str,
    pub(super) count: usize,
    /// Whose last activity was before this moment is checked first.
    pub(super) quiet_before: i64,
    /// How many of these to pass over, in each index.
    pub(super) passed: [u64; 2],
}

impl CustomerScripts {
    pub(super) fn new(prefix: &Prefix) -> Self {
        macro_rules! script {
            ($name:literal) => {
                Source::new(concat!(
                    include_str!("lua/customer.lua"),
                    include_str!(concat!("lua/", $name, ".lua"))
                ))
            };
        }
        Self {
            prefix: prefix.clone(),
            indices: prefix.customer_indices(),
            lease: prefix.sweep(),
            apply: script!("apply_change"),
            erase: script!("erase_customer"),
            begin: script!("begin_sweep"),
            check: script!("check_customers"),
            end: Source::new(include_str!("lua/end_sweep.lua")),
        }
    }

    pub(super) fn apply<'a>(
        &'a self,
        rules: &'a Rules,
        changes: &'a [Change],
    ) -> impl Call + Sync + 'a {
        let write = move |command: &mut Cmd| {
            command.arg(2 + 2 * changes.len()).arg(&self.indices);
            for change in changes {
                command.arg(self.prefix.customer(&change.customer));
                command.arg(self.prefix.erased(&change.customer));
            }
            rules.write(command);
            for change in changes {
                command.arg(change.customer.as_str());
                command.arg(change.at.as_millis());
                match Effect::of(&change.event) {
                    Effect::Seen => command.arg("a").arg(0).arg(""),
                    Effect::Ordered(key, amount) => {
                        command.arg("o").arg(amount).arg(key.as_bytes().as_slice())
                    }
                    Effect::Refunded(key, amount) => {
                        command.arg("r").arg(amount).arg(key.as_bytes().as_slice())
                    }
                };
            }
        };
        ScriptCall {
            source: &self.apply,
            write,
        }
    }

    pub(super) fn erase<'a>(
        &'a self,
        customer: &'a UserId,
        at: Timestamp,
    ) -> impl Call + Sync + 'a {
        let write = move |command: &mut Cmd| {
            command.arg(4).arg(&self.indices);
            command.arg(self.prefix.customer(customer));
            command.arg(self.prefix.erased(customer));
            command.arg(customer.as_str()).arg(at.as_millis());
            command.arg(millis(ERASED_FOR));
        };
        ScriptCall {
            source: &self.erase,
            write,
        }
    }

    pub(super) fn begin<'a>(&'a self, begin: &'a Begin<'a>) -> impl Call + Sync + 'a {
        let write = move |command: &mut Cmd| {
            command.arg(3).arg(&self.indices).arg(&self.lease);
            command.arg(begin.holder).arg(begin.lease_millis);
            command.arg(begin.walked + 1).arg(begin.cursor);
            command.arg(begin.count).arg(begin.quiet_before);
            command.arg(&begin.passed);
        };
        ScriptCall {
            source: &self.begin,
            write,
        }
    }

    pub(super) fn end<'a>(&'a self, holder: &'a str) -> impl Call + Sync + 'a {
        let write = move |command: &mut Cmd| {
            command.arg(1).arg(&self.lease).arg(holder);
        };
        ScriptCall {
            source: &self.end,
            write,
        }
    }

    /// The last two are the latest last activity of who has churned, and of who is at risk; below zero, of nobody.
    pub(super) fn check<'a>(
        &'a self,
        rules: &'a Rules,
        members: &'a [Member],
        churned: i64,
        at_risk: i64,
    ) -> impl Call + Sync + 'a {
        let write = move |command: &mut Cmd| {
            command.arg(2 + members.len()).arg(&self.indices);
            for member in members {
                command.arg(self.prefix.customer_of(member));
            }
            rules.write(command);
            command.arg(churned).arg(at_risk).arg(members);
        };
        ScriptCall {
            source: &self.check,
            write,
        }
    }

    pub(super) fn fetch(&self, customer: &UserId) -> impl Call + Sync + use<> {
        self.read(customer, &Self::FIELDS[..4])
    }

    pub(super) fn export(&self, customer: &UserId) -> impl Call + Sync + use<> {
        self.read(customer, &Self::FIELDS)
    }

    const FIELDS: [&str; 5] = [
        "last_activity",
        "first_activity",
        "spend",
        "orders",
        "counted",
    ];

    fn read(&self, customer: &UserId, fields: &[&str]) -> Plain {
        let mut command = redis::cmd("HMGET");
        command.arg(self.prefix.customer(customer)).arg(fields);
        Plain(command)
    }
}
