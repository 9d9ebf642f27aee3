//! KnowBe4 Security Awareness Training: the gateway's five calls on accounts, over GraphQL.
//!
//! An account is archived, never deleted; it is found by its address, which is the `userName`.
//! Absent: groups, retries (the gateway decides on them), the Reporting API, the vendor's SCIM.

mod mapping;
mod vendor;

use connector_sdk::{Account, Connector, Context, Deltas, Error, ErrorKind, User};
use vendor::Vendor;

connector_sdk::export!(KnowBe4);

/// The connector.
#[derive(Debug)]
pub struct KnowBe4;

/// What `connector.toml` declares under `[settings]`; one of the two is always there.
#[derive(Debug, serde::Deserialize)]
pub struct Settings {
    region: Option<String>,
    base_url: Option<String>,
}

impl Connector for KnowBe4 {
    type Settings = Settings;

    /// Looked up first: an address that the vendor holds, archived or not, is adopted. Adopting
    /// sets what `desired` says and clears nothing: what an administrator keeps at the vendor by
    /// hand is not the gateway's.
    fn create(context: &Context<Settings>, desired: &User) -> Result<Account, Error> {
        let vendor = Vendor::of(&context.settings)?;
        let email = mapping::email(desired);
        // Mapped before the first write: what cannot be mapped must not half succeed.
        let mut wanted = mapping::wanted(desired, email)?;
        let held = vendor.by_email(email)?;
        let (id, archived) = match &held {
            Some(held) => {
                mapping::drop_held(&mut wanted, held, desired);
                (vendor::id(held)?, held["archived"] == true)
            }
            None => (vendor.create(&mut wanted)?, false),
        };
        let brought_back = archived && desired.active();
        let finish = || {
            if brought_back {
                vendor.unarchive(id)?;
            }
            vendor.edit(id, wanted)?;
            if !archived && !desired.active() {
                vendor.archive(id)?;
            }
            Ok(Account::new(id))
        };
        // An account that this call made or brought back is named even if the rest fails.
        let touched = held.is_none() || brought_back;
        finish().map_err(|error: Error| if touched { error.uid(id) } else { error })
    }

    /// Brought back before the edit and archived after it, because no source says that an archived
    /// account can be edited.
    fn update(
        context: &Context<Settings>,
        uid: &str,
        desired: &User,
        deltas: &Deltas,
    ) -> Result<Account, Error> {
        let vendor = Vendor::of(&context.settings)?;
        let unknown = |_| Error::not_found(format!("KnowBe4 has no account {uid}"));
        let id = uid.parse().map_err(unknown)?;
        let changes = mapping::changes(desired, deltas)?;
        let activity = deltas.get("active").map(|_| desired.active());
        if activity == Some(true) {
            vendor.unarchive(id)?;
        }
        let edits = !changes.is_empty();
        let edited = vendor.edit(id, changes);
        // Brought back and then not edited is half of a change.
        edited.map_err(|error| {
            if activity == Some(true) {
                error.uid(id)
            } else {
                error
            }
        })?;
        if activity == Some(false) {
            let archived = vendor.archive(id);
            archived.map_err(|error| if edits { error.uid(id) } else { error })?;
        }
        Ok(Account::new(id))
    }

    /// Archives: the API has no way to delete a user.
    fn delete(context: &Context<Settings>, uid: &str) -> Result<(), Error> {
        let Ok(id) = uid.parse() else {
            return Ok(());
        };
        match Vendor::of(&context.settings)?.archive(id) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn get(context: &Context<Settings>, uid: &str) -> Result<Option<Account>, Error> {
        let Ok(id) = uid.parse() else {
            return Ok(None);
        };
        let held = Vendor::of(&context.settings)?.by_id(id)?;
        held.as_ref().map(mapping::account).transpose()
    }

    fn find(
        context: &Context<Settings>,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Account>, Error> {
        if attribute != "userName" {
            let message = format!("KnowBe4 finds accounts by userName only, not by {attribute}");
            return Err(Error::unsupported(message));
        }
        let vendor = Vendor::of(&context.settings)?;
        let mut held = vendor.by_email(value)?;
        if let (None, Some(email)) = (&held, mapping::email_before_deletion(value)) {
            held = vendor.by_email(email)?;
        }
        held.iter().map(mapping::account).collect()
    }
}
