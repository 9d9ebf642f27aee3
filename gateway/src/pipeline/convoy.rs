//! Member changes of one group that travel together.
//!
//! An identity provider adds members one PATCH at a time, several at once (Entra fact 2.6). Each holds
//! the group's turn while the vendor is asked, so the others wait. Those that wait are merged: who gets
//! the turn next carries all of them in one change, one call of the connector and two commits, and
//! everyone gets the answer. Membership changes are set operations, so the merged change leaves the
//! group as the single ones would have, in the order of their arrival.
//!
//! Invariant: a request is answered with success only if its own part is durable. If the vendor refuses
//! a merged change, it is taken apart, so that nobody fails for another's sake.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::auth::Admission;
use crate::dispatch::MEMBERS_PER_CALL;
use crate::store::{Kind, Member, MemberChange, Stored};

use super::Pipeline;
use super::answer::{Failure, too_busy};
use super::write::members_only;

/// Who waits to change a group's members, by tenant and group.
#[derive(Default)]
pub(super) struct Convoys(Mutex<HashMap<Place, Vec<Traveller>>>);

/// How many requests may wait for one group. An identity provider keeps a handful under way.
const WAITING_MAX: usize = 1000;

/// How long a refused convoy is taken apart to find the request that the vendor refuses. Who is left
/// then is told to come again.
const TAKING_APART: Duration = Duration::from_secs(20);

/// A tenant's group.
type Place = (Arc<str>, Uuid);

/// One request that waits.
struct Traveller {
    request_id: String,
    change: MemberChange,
    answer: oneshot::Sender<Result<Stored, Failure>>,
}

impl Traveller {
    fn size(&self) -> usize {
        self.change.add.len() + self.change.remove.len()
    }
}

impl Convoys {
    /// False if as many wait as may: then the request has to come again.
    fn join(&self, place: Place, traveller: Traveller) -> bool {
        let mut waiting = self.0.lock();
        let here = waiting.entry(place).or_default();
        let has_room = here.len() < WAITING_MAX;
        if has_room {
            here.push(traveller);
        }
        has_room
    }

    /// Those that go next, in the order of their arrival: at least one if any waits, and as many as
    /// one change carries.
    fn depart(&self, place: &Place) -> Vec<Traveller> {
        let mut waiting = self.0.lock();
        let Some(here) = waiting.get_mut(place) else {
            return Vec::new();
        };
        let mut load = 0;
        let fits = here
            .iter()
            .take_while(|traveller| {
                load += traveller.size();
                load <= MEMBERS_PER_CALL
            })
            .count();
        let departing = here.drain(..fits.max(1).min(here.len())).collect();
        if here.is_empty() {
            waiting.remove(place);
        }
        departing
    }

    /// Takes a request out that has waited too long; false if it is under way already.
    fn leave(&self, place: &Place, request_id: &str) -> bool {
        let mut waiting = self.0.lock();
        let Some(here) = waiting.get_mut(place) else {
            return false;
        };
        let before = here.len();
        here.retain(|traveller| traveller.request_id != request_id);
        let left = here.len() < before;
        if here.is_empty() {
            waiting.remove(place);
        }
        left
    }
}

impl Pipeline {
    /// Changes members of a group, together with whoever waits for the same group. The group as it is
    /// afterwards.
    pub(super) async fn travel(
        &self,
        admission: &Admission,
        group: Uuid,
        change: MemberChange,
        request_id: &str,
    ) -> Result<Stored, Failure> {
        let place = (admission.tenant().name.clone(), group);
        let (answer, mut answered) = oneshot::channel();
        let traveller = Traveller {
            request_id: request_id.to_owned(),
            change,
            answer,
        };
        if !self.convoys.join(place.clone(), traveller) {
            return Err(too_busy());
        }
        let turn = tokio::select! {
            biased;
            answer = &mut answered => return arrived(answer),
            turn = self.turn(admission, group) => turn,
        };
        match turn {
            Ok(turn) => {
                // Several departures if more wait than one change carries: this request's own is in
                // one of them.
                while answered.is_empty() {
                    let convoy = self.convoys.depart(&place);
                    if convoy.is_empty() {
                        break;
                    }
                    self.lead(admission, group, convoy).await;
                }
                drop(turn);
            }
            Err(failure) if self.convoys.leave(&place, request_id) => return Err(failure),
            Err(_) => {}
        }
        arrived(answered.await)
    }

    /// Carries a convoy's changes out, under the group's turn, and answers everyone in it. One that the
    /// vendor refuses is taken apart, half by half, until those that are refused travel alone.
    async fn lead(&self, admission: &Admission, group: Uuid, convoy: Vec<Traveller>) {
        let started = Instant::now();
        let mut convoys = vec![convoy];
        while let Some(mut convoy) = convoys.pop() {
            let ids: Vec<&str> = convoy.iter().map(|it| it.request_id.as_str()).collect();
            let merged = merge(convoy.iter().map(|it| &it.change));
            let outcome = self.change(admission, group, merged, &ids.join(" ")).await;
            match outcome {
                Err(failure) if convoy.len() > 1 && failure.is_about_the_change() => {
                    if started.elapsed() > TAKING_APART {
                        answer(convoy, &Err(too_busy()));
                        continue;
                    }
                    let later = convoy.split_off(convoy.len() / 2);
                    // The earlier half goes first: the order of arrival decides.
                    convoys.push(later);
                    convoys.push(convoy);
                }
                outcome => answer(convoy, &outcome),
            }
        }
    }

    async fn change(
        &self,
        admission: &Admission,
        group: Uuid,
        change: MemberChange,
        request_id: &str,
    ) -> Result<Stored, Failure> {
        let mut stored = self.current(admission, Kind::Group, group).await?;
        let change = self.effective(admission, group, change).await?;
        let change = self.told_now(admission, change).await?;
        for portion in super::write::in_portions(change) {
            let change = members_only(admission, &stored, portion, request_id);
            stored = self.carry_through(admission, change).await?;
        }
        Ok(stored)
    }
}

fn answer(convoy: Vec<Traveller>, outcome: &Result<Stored, Failure>) {
    for traveller in convoy {
        // Who has gone away in the meantime needs no answer.
        let _ = traveller.answer.send(outcome.clone());
    }
}

/// The convoy's answer to one of its requests; it is only missing if its leader has panicked.
fn arrived(
    answer: Result<Result<Stored, Failure>, oneshot::error::RecvError>,
) -> Result<Stored, Failure> {
    answer.unwrap_or_else(|_| Err(too_busy()))
}

/// Several changes, one after the other, as one: what is said last of a member counts.
fn merge<'a>(changes: impl Iterator<Item = &'a MemberChange>) -> MemberChange {
    let mut last: HashMap<Uuid, (usize, bool, &Member)> = HashMap::new();
    let mut order = 0;
    for change in changes {
        let removed = change.remove.iter().map(|member| (false, member));
        let added = change.add.iter().map(|member| (true, member));
        for (is_added, member) in removed.chain(added) {
            last.insert(member.id, (order, is_added, member));
            order += 1;
        }
    }
    let mut said: Vec<_> = last.into_values().collect();
    said.sort_unstable_by_key(|(order, _, _)| *order);
    let mut merged = MemberChange::default();
    for (_, is_added, member) in said {
        match is_added {
            true => merged.add.push(member.clone()),
            false => merged.remove.push(member.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u128) -> Member {
        Member {
            kind: Kind::User,
            id: Uuid::from_u128(id),
            uid: None,
        }
    }

    fn change(add: &[u128], remove: &[u128]) -> MemberChange {
        MemberChange {
            add: add.iter().copied().map(member).collect(),
            remove: remove.iter().copied().map(member).collect(),
        }
    }

    #[test]
    fn what_is_said_last_counts() {
        let changes = [
            change(&[1, 2], &[]),
            change(&[3], &[1]),
            change(&[1], &[2, 4]),
        ];
        assert_eq!(merge(changes.iter()), change(&[3, 1], &[2, 4]));
    }
}
