//! The GraphQL schema: the queries and mutations that concern accounts.
//!
//! Invariant: nothing here decides; it names arguments and payloads and asks the roster.
//! Absent: groups and the other three hundred fields of the vendor's schema.

use std::sync::Arc;

use async_graphql::{Context, EmptySubscription, Enum, Error, Object, Schema, SimpleObject};

use super::State;
use super::roster::{Refusal, Role, Roster, Rules, User, UserAttributes};

/// Points that one query may cost; the vendor refuses more.
const COMPLEXITY_MAX: usize = 150;
const PER_MIN: i32 = 25;
const PER_MAX: i32 = 1000;

pub(super) type ProductApi = Schema<Query, Mutation, EmptySubscription>;

pub(super) fn build(state: Arc<State>) -> ProductApi {
    Schema::build(Query, Mutation, EmptySubscription)
        .data(state)
        .limit_complexity(COMPLEXITY_MAX)
        .finish()
}

#[derive(Clone, Copy, Enum, PartialEq, Eq)]
enum UserStatusFilters {
    Active,
    Archived,
    All,
}

#[derive(Clone, Copy, Enum, PartialEq, Eq)]
enum UserTypeFilters {
    All,
    User,
    Admin,
    AdminOrSr,
    Student,
}

impl UserTypeFilters {
    fn covers(self, role: Role) -> bool {
        match self {
            UserTypeFilters::All => true,
            UserTypeFilters::User => role == Role::User,
            UserTypeFilters::Admin | UserTypeFilters::AdminOrSr => role == Role::Admin,
            UserTypeFilters::Student => role == Role::Student,
        }
    }
}

#[derive(SimpleObject)]
struct Account {
    account_owner: AccountOwner,
}

#[derive(SimpleObject)]
struct AccountOwner {
    email: String,
}

#[derive(SimpleObject)]
struct Pagination {
    page: i32,
    pages: i32,
    per: i32,
    total_count: i32,
}

#[derive(SimpleObject)]
struct UserPage {
    nodes: Vec<User>,
    pagination: Pagination,
}

#[derive(SimpleObject)]
struct UserPayload {
    node: Option<User>,
    errors: Vec<Refusal>,
}

impl From<Result<User, Vec<Refusal>>> for UserPayload {
    fn from(outcome: Result<User, Vec<Refusal>>) -> UserPayload {
        match outcome {
            Ok(user) => UserPayload {
                node: Some(user),
                errors: Vec::new(),
            },
            Err(errors) => UserPayload { node: None, errors },
        }
    }
}

fn state<'a>(context: &Context<'a>) -> Result<&'a State, Error> {
    context.data::<Arc<State>>().map(|state| &**state)
}

fn rules(state: &State) -> Rules {
    let switches = state.switches();
    Rules {
        archived_editable: switches.archived_editable,
        unique_addresses: switches.unique_addresses,
    }
}

/// The root of all reads.
pub(super) struct Query;

#[Object]
impl Query {
    async fn account(&self) -> Account {
        Account {
            account_owner: AccountOwner {
                email: "owner@example.com".to_owned(),
            },
        }
    }

    async fn user(&self, context: &Context<'_>, id: i32) -> Result<Option<User>, Error> {
        Ok(state(context)?.roster().get(id).cloned())
    }

    async fn user_by_email(
        &self,
        context: &Context<'_>,
        email: Option<String>,
    ) -> Result<Option<User>, Error> {
        let roster = state(context)?.roster();
        Ok(email.and_then(|email| roster.by_email(&email).cloned()))
    }

    async fn users(
        &self,
        context: &Context<'_>,
        #[graphql(default = 25)] per: i32,
        #[graphql(default = 1)] page: i32,
        #[graphql(default_with = "UserStatusFilters::Active")] status: UserStatusFilters,
        #[graphql(name = "type", default_with = "UserTypeFilters::All")] kind: UserTypeFilters,
    ) -> Result<UserPage, Error> {
        if !(PER_MIN..=PER_MAX).contains(&per) {
            return Err(Error::new(format!(
                "per must be between {PER_MIN} and {PER_MAX}"
            )));
        }
        if page < 1 {
            return Err(Error::new("page must be at least 1"));
        }
        let chosen = |user: &&User| {
            kind.covers(user.role)
                && match status {
                    UserStatusFilters::Active => !user.archived,
                    UserStatusFilters::Archived => user.archived,
                    UserStatusFilters::All => true,
                }
        };
        let roster = state(context)?.roster();
        let total_count = count(&roster, chosen);
        let nodes = roster
            .all()
            .filter(chosen)
            .skip((page as usize - 1).saturating_mul(per as usize))
            .take(per as usize)
            .cloned()
            .collect();
        Ok(UserPage {
            nodes,
            pagination: Pagination {
                page,
                pages: total_count.div_ceil(per.unsigned_abs()) as i32,
                per,
                total_count: total_count as i32,
            },
        })
    }
}

fn count(roster: &Roster, chosen: impl Fn(&&User) -> bool) -> u32 {
    roster.all().filter(chosen).count() as u32
}

/// The root of all writes.
pub(super) struct Mutation;

#[Object]
impl Mutation {
    async fn user_create(
        &self,
        context: &Context<'_>,
        email: String,
        first_name: String,
        last_name: Option<String>,
        job_title: Option<String>,
    ) -> Result<UserPayload, Error> {
        let state = state(context)?;
        let rules = rules(state);
        let mut roster = state.roster();
        Ok(roster
            .create(email, first_name, last_name, job_title, rules)
            .into())
    }

    async fn user_edit(
        &self,
        context: &Context<'_>,
        user_id: i32,
        attributes: UserAttributes,
    ) -> Result<UserPayload, Error> {
        let state = state(context)?;
        let rules = rules(state);
        Ok(state.roster().edit(user_id, attributes, rules).into())
    }

    async fn user_archive(
        &self,
        context: &Context<'_>,
        user_ids: Vec<i32>,
    ) -> Result<UserPayload, Error> {
        let now = jiff::Timestamp::now().to_string();
        Ok(state(context)?.roster().archive(&user_ids, &now).into())
    }

    async fn user_unarchive(
        &self,
        context: &Context<'_>,
        user_ids: Vec<i32>,
    ) -> Result<UserPayload, Error> {
        Ok(state(context)?.roster().unarchive(&user_ids).into())
    }
}
