//! `demo`: simulated vendors, the real gateway, and a small directory that travels through both.
//!
//! Without options it provisions the directory, prints what each vendor holds and stays up until
//! Ctrl-C. `--once` ends after the sample cycle, with exit code 0 only if every vendor holds exactly
//! what it should.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use gateway_tests::corridor::{Corridor, SCIM, ScimSide, Setup, TENANT};
use gateway_tests::directory::{self, Event, Group, GroupEvent, Person};
use gateway_tests::entra::Entra;
use gateway_tests::held;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const PEOPLE: usize = 20;

/// What Entra asks a service to take; the simulated SCIM vendor takes no more.
const SCIM_REQUESTS_PER_SECOND: u32 = 25;

/// See a directory travel through the gateway into simulated vendors.
#[derive(Parser)]
#[command(name = "demo", version)]
struct Args {
    /// Provision nothing.
    #[arg(long)]
    empty: bool,
    /// End after the sample cycle; exit 0 only if every vendor holds what it should.
    #[arg(long)]
    once: bool,
    /// Take the simulated vendors' rate limits and latency away.
    #[arg(long)]
    instant: bool,
    /// Write names, URLs and tokens to this file once all is up.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Keep the gateway's data in this folder; by default in a temporary one that goes with the demo.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("demo: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), String> {
    // Heard from the start: a Ctrl-C at any moment ends the demo through its own clean-up.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = args.data.as_deref().unwrap_or(temporary.path());
    let stage = set_up(data, args.instant)?;
    if let Some(file) = &args.ready_file {
        announce(&stage, file)?;
    }

    let mut wrong = Vec::new();
    if !args.empty {
        let story = Story::new();
        tokio::select! {
            provisioned = story.provision(&stage) => provisioned?,
            _ = interrupt.recv() => {
                println!("\nstopping before all is provisioned");
                return Ok(());
            }
        }
        wrong.extend(story.check_knowbe4(&stage).await?);
        for side in &stage.scim {
            wrong.extend(story.check_scim(side).await?);
        }
    }
    for (tenant, token, vendor) in access(&stage) {
        println!("\nTenant URL    {}", stage.gateway.scim_url(tenant));
        println!("Secret Token  {token}");
        println!("Vendor API    {vendor}");
    }
    println!("\nAdmin API     {}", stage.gateway.admin_url());
    if !wrong.is_empty() {
        return Err(format!(
            "the vendors do not hold what they should:\n{}",
            wrong.join("\n")
        ));
    }
    if args.once {
        if !args.empty {
            println!("\nThe vendors hold exactly what they should.");
        }
        return Ok(());
    }
    println!(
        "\nTry it:\n  curl -s -H 'Authorization: Bearer {}' \\\n    '{}/Users?count=2'",
        stage.token,
        stage.gateway.scim_url(TENANT)
    );
    println!("\nCtrl-C ends it.");
    interrupt.recv().await;
    println!("\nstopping");
    Ok(())
}

/// Tenant, token and vendor's API of each tenant.
fn access(stage: &Corridor) -> Vec<(&'static str, &str, String)> {
    let knowbe4 = format!("{}/graphql", stage.vendor.url());
    let scim = stage.scim.iter();
    let scim = scim.map(|it| (it.tenant, it.token.as_str(), it.vendor.url()));
    std::iter::once((TENANT, stage.token.as_str(), knowbe4))
        .chain(scim)
        .collect()
}

fn set_up(data: &Path, instant: bool) -> Result<Corridor, String> {
    let mut setup = match instant {
        true => Setup::instant(),
        false => Setup::default(),
    }
    .with(&[SCIM]);
    setup.scim_switches.requests_per_second_max = Some(SCIM_REQUESTS_PER_SECOND);
    let data = std::path::absolute(data).map_err(|error| error.to_string())?;
    Corridor::start(&data, setup)
}

/// Writes the ready file whole, so that who waits for it never reads half of it.
fn announce(stage: &Corridor, file: &Path) -> Result<(), String> {
    let mut tenants = vec![json!({
        "name": TENANT,
        "app": "knowbe4",
        "scim_url": stage.gateway.scim_url(TENANT),
        "token": stage.token,
        "vendor_url": stage.vendor.url(),
    })];
    tenants.extend(stage.scim.iter().map(|it| {
        json!({
            "name": it.tenant,
            "app": "scim",
            "scim_url": stage.gateway.scim_url(it.tenant),
            "token": it.token,
            "vendor_url": it.vendor.url(),
        })
    }));
    let document = json!({
        "tenants": tenants,
        "admin_url": stage.gateway.admin_url(),
        "admin_token": stage.gateway.admin_token()?,
    });
    let half = file.with_extension("partial");
    std::fs::write(&half, document.to_string())
        .and_then(|()| std::fs::rename(&half, file))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// What happens in the directory while the demo looks on.
struct Story {
    people: Vec<Person>,
    events: Vec<Event>,
    groups: Vec<Group>,
    group_events: Vec<GroupEvent>,
}

impl Story {
    fn new() -> Self {
        let people = directory::people(PEOPLE);
        Self {
            events: directory::events(&people),
            groups: directory::groups(&people),
            group_events: directory::group_events(&people),
            people,
        }
    }

    /// One initial cycle and one incremental cycle for each tenant, in the order of calls that Entra
    /// makes; the tenants side by side.
    async fn provision(&self, stage: &Corridor) -> Result<(), String> {
        let users = self.people.len() + self.events.len();
        let groups = self.groups.len() + self.group_events.len();
        let steps = users + stage.scim.len() * (users + groups);
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg:<14} [{bar:32}] {pos}/{len} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("provisioning");
        let knowbe4 = async {
            self.create_people(&stage.entra, &bar).await?;
            self.change_people(&stage.entra, &bar).await
        };
        let scim = stage.scim.iter().map(async |side| {
            self.create_people(&side.entra, &bar).await?;
            // Before people change, so that a disable and a delete meet a member.
            self.create_groups(&side.entra, &bar).await?;
            self.change_people(&side.entra, &bar).await?;
            self.change_groups(&side.entra, &bar).await
        });
        let (knowbe4, scim) = futures::join!(knowbe4, futures::future::join_all(scim));
        knowbe4.map_err(|error| format!("{TENANT}: {error}"))?;
        for (side, provisioned) in stage.scim.iter().zip(scim) {
            provisioned.map_err(|error| format!("{}: {error}", side.tenant))?;
        }
        bar.finish_with_message("done");
        Ok(())
    }

    async fn create_people(&self, entra: &Entra, bar: &ProgressBar) -> Result<(), String> {
        for person in &self.people {
            if entra.look_up(&person.user_name()).await?.is_none() {
                entra.create(&person.as_scim()).await?;
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// Empty first; then people, and groups in groups, become members by PATCH.
    async fn create_groups(&self, entra: &Entra, bar: &ProgressBar) -> Result<(), String> {
        for group in &self.groups {
            let id = match entra.look_up_group(&group.name).await? {
                Some(id) => id,
                None => entra.create_group(&group.as_scim()).await?,
            };
            let mut members = Vec::new();
            for user_name in &group.people {
                members.push(find(entra, user_name).await?);
            }
            for name in &group.groups {
                members.push(find_group(entra, name).await?);
            }
            entra.add_members(&id, &members).await?;
            bar.inc(1);
        }
        Ok(())
    }

    async fn change_people(&self, entra: &Entra, bar: &ProgressBar) -> Result<(), String> {
        for event in &self.events {
            happen(entra, event).await?;
            bar.inc(1);
        }
        Ok(())
    }

    async fn change_groups(&self, entra: &Entra, bar: &ProgressBar) -> Result<(), String> {
        for event in &self.group_events {
            happen_to_group(entra, event).await?;
            bar.inc(1);
        }
        Ok(())
    }

    /// Shows what KnowBe4 holds and returns what is wrong with it.
    async fn check_knowbe4(&self, stage: &Corridor) -> Result<Vec<String>, String> {
        let held = held::knowbe4_accounts(&stage.vendor.url()).await?;
        println!(
            "\nKnowBe4 (simulated) now holds, by its own GraphQL API:\n{}",
            held::knowbe4_table(&held)
        );
        let people = directory::after(self.people.clone(), &self.events);
        let wanted: Vec<_> = people.iter().map(Person::at_knowbe4).collect();
        Ok(at(TENANT, held::differences(&wanted, &held, "email")))
    }

    /// The same for a vendor whose API is SCIM.
    async fn check_scim(&self, side: &ScimSide) -> Result<Vec<String>, String> {
        let (url, token) = (side.vendor.url(), side.vendor.token());
        let (users, groups) = held::scim_users_and_groups(&url, &token).await?;
        println!(
            "\nThe SCIM vendor of {} (simulated) now holds:\n{}\n{}",
            side.tenant,
            held::scim_users_table(&users),
            held::scim_groups_table(&groups)
        );
        let people = directory::after(self.people.clone(), &self.events);
        let people = directory::without_removed(people, &self.events);
        let wanted: Vec<_> = people.iter().map(Person::at_scim).collect();
        let mut wrong = held::differences(&wanted, &users, "userName");
        let wanted = directory::groups_after(self.groups.clone(), &self.events, &self.group_events);
        wrong.extend(held::group_differences(&wanted, &groups));
        Ok(at(side.tenant, wrong))
    }
}

/// Differences under the name of the tenant whose vendor has them.
fn at(tenant: &str, differences: Vec<String>) -> Vec<String> {
    let head = (!differences.is_empty()).then(|| format!("{tenant}:"));
    head.into_iter().chain(differences).collect()
}

async fn find(entra: &Entra, user_name: &str) -> Result<String, String> {
    let id = entra.look_up(user_name).await?;
    id.ok_or_else(|| format!("{user_name} is not there any more"))
}

async fn find_group(entra: &Entra, name: &str) -> Result<String, String> {
    let id = entra.look_up_group(name).await?;
    id.ok_or_else(|| format!("the group {name} is not there any more"))
}

async fn happen(entra: &Entra, event: &Event) -> Result<(), String> {
    match event {
        Event::Promotion {
            user_name,
            title,
            department,
        } => {
            let id = find(entra, user_name).await?;
            entra.read(&id).await?;
            let path = format!("{}:department", directory::ENTERPRISE);
            let operations = json!([
                { "op": "Replace", "path": "title", "value": title },
                { "op": "Replace", "path": path, "value": department },
            ]);
            entra.patch(&id, operations).await?;
        }
        Event::Leave(user_name) => {
            entra.disable(&find(entra, user_name).await?).await?;
        }
        Event::Return(user_name) => {
            let operation = json!([{ "op": "Replace", "path": "active", "value": "True" }]);
            entra
                .patch(&find(entra, user_name).await?, operation)
                .await?;
        }
        Event::Removal(user_name) => entra.delete(&find(entra, user_name).await?).await?,
    }
    Ok(())
}

async fn happen_to_group(entra: &Entra, event: &GroupEvent) -> Result<(), String> {
    match event {
        GroupEvent::Join { group, user_name } => {
            let (id, member) = (
                find_group(entra, group).await?,
                find(entra, user_name).await?,
            );
            entra.read_group(&id).await?;
            entra.add_members(&id, &[member]).await
        }
        GroupEvent::Quit { group, user_name } => {
            let (id, member) = (
                find_group(entra, group).await?,
                find(entra, user_name).await?,
            );
            entra.read_group(&id).await?;
            entra.remove_members(&id, &[member]).await
        }
        GroupEvent::Rename { group, name } => {
            let id = find_group(entra, group).await?;
            entra.rename_group(&id, name).await
        }
        GroupEvent::Dissolve(group) => entra.delete_group(&find_group(entra, group).await?).await,
    }
}
