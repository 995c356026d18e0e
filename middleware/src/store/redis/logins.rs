//! What failed logins add up to, over all processes: the steps of `lua/count_distinct.lua`.

use super::count_distinct::{Finding, Steps, What};
use super::keys::Prefix;
use crate::model::{PartitionKey, Route};
use crate::suspicion::{
    AccountHash, AccountState, FailedRequest, Incident, Kind, LoginAttempt, Watch,
};

/// A kind, and what its keys start with.
type Watched = (Watch, Box<str>);

/// The kinds of logins of one layer.
pub(super) struct BoundLogins {
    watches: Vec<Watched>,
    /// The kinds whose episodes make a network suspicious by its failures.
    failures: Vec<Watched>,
}

/// The steps that count the logins of some requests, and which request and kind each is of.
pub(super) struct Counting {
    pub(super) steps: Steps,
    origins: Vec<(usize, Watch, Route)>,
}

impl BoundLogins {
    pub(super) fn new(prefix: &Prefix, watches: &[Watch]) -> Self {
        let of = |kinds: &dyn Fn(Kind) -> bool| {
            let watches = watches.iter().filter(|watch| kinds(watch.kind));
            watches
                .map(|watch| (*watch, prefix.of_kind(watch.kind)))
                .collect()
        };
        let of_credentials = |kind| {
            matches!(
                kind,
                Kind::CredentialStuffing | Kind::CredentialStuffingSlow
            )
        };
        Self {
            watches: of(&Kind::is_of_logins),
            failures: of(&of_credentials),
        }
    }

    fn of(&self, kind: Kind) -> Option<&Watched> {
        self.watches.iter().find(|(watch, _)| watch.kind == kind)
    }

    /// What counts the logins among the requests; `None` if there are none that a kind counts.
    pub(super) fn counting(&self, requests: &[FailedRequest]) -> Option<Counting> {
        if self.watches.is_empty() {
            return None;
        }
        let mut counting = Counting {
            steps: Steps::with_room_for(requests.len() * 2),
            origins: Vec::with_capacity(requests.len() * 2),
        };
        for (place, request) in requests.iter().enumerate() {
            if let Some(login) = request.login {
                self.push(&mut counting, place, request, login);
            }
        }
        (counting.steps.len() > 0).then_some(counting)
    }

    fn push(
        &self,
        counting: &mut Counting,
        place: usize,
        request: &FailedRequest,
        login: LoginAttempt,
    ) {
        let network = &PartitionKey::from(request.client);
        let account = &PartitionKey::of_ours(login.account.to_string());
        let mut push = |what, (watch, prefix): &Watched, key, item| {
            counting
                .steps
                .push(what, prefix, key, watch.threshold, item);
            counting
                .origins
                .push((place, *watch, request.route.clone()));
        };
        let spraying = self.of(Kind::PasswordSpraying);
        let stuffing = self.of(Kind::DistributedStuffing);
        if !login.succeeded {
            if let Some(watched) = spraying {
                push(What::Count, watched, network, login.account.item());
            }
            if let Some(watched) = stuffing {
                push(What::Count, watched, account, login.network);
            }
        } else if let Some(success) = self.of(Kind::SuccessAfterFailures) {
            if let Some(watched) = stuffing {
                push(What::IsDistinct, watched, account, 0);
            }
            if let Some(watched) = spraying {
                push(What::IsDistinct, watched, network, 0);
            }
            for watched in &self.failures {
                push(What::IsFailing, watched, network, 0);
            }
            push(What::CountIfSuspicious, success, account, login.network);
        }
    }

    /// What reads the state of an account; `None` if no kind counts accounts.
    pub(super) fn looking_up(&self, account: AccountHash) -> Option<Steps> {
        let (watch, prefix) = self.of(Kind::DistributedStuffing)?;
        let account = PartitionKey::of_ours(account.to_string());
        let mut steps = Steps::with_room_for(1);
        steps.push(What::State, prefix, &account, watch.threshold, 0);
        Some(steps)
    }
}

impl Counting {
    /// The incident that a finding is.
    pub(super) fn incident(&self, finding: &Finding) -> Option<Incident> {
        let (request, watch, route) = self.origins.get(finding.step)?;
        Some(Incident {
            request: *request,
            watch: *watch,
            count: finding.count,
            estimated: finding.estimated,
            span: finding.span,
            routes: vec![route.clone()],
        })
    }
}

impl From<&Finding> for AccountState {
    fn from(finding: &Finding) -> Self {
        Self::new(
            finding.in_episode,
            finding.count,
            finding.estimated,
            finding.span,
        )
    }
}
