//! `demo`: simulated vendors, the real gateway, and a small directory that travels through both.
//!
//! Without options it provisions the directory, prints what each vendor holds and stays up until
//! Ctrl-C. `--once` ends after the sample cycle, with exit code 0 only if every vendor holds exactly
//! what it should.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use gateway_tests::corridor::{Corridor, Setup, TENANT};
use gateway_tests::directory::{self, Event, Person};
use gateway_tests::entra::Entra;
use gateway_tests::vendors::knowbe4::API_KEY;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const PEOPLE: usize = 20;

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
        let people = directory::people(PEOPLE);
        let events = directory::events(&people);
        tokio::select! {
            provisioned = provision(&stage.entra, &people, &events) => provisioned?,
            _ = interrupt.recv() => {
                println!("\nstopping before all is provisioned");
                return Ok(());
            }
        }
        let held = ask_vendor(&stage.vendor.url()).await?;
        println!(
            "\nKnowBe4 (simulated) now holds, by its own GraphQL API:\n{}",
            table(&held)
        );
        wrong = differences(&directory::after(people, &events), &held);
    }
    println!("\nTenant URL    {}", stage.gateway.scim_url(TENANT));
    println!("Secret Token  {}", stage.token);
    println!("Vendor API    {}/graphql", stage.vendor.url());
    println!("Admin API     {}", stage.gateway.admin_url());
    if !wrong.is_empty() {
        return Err(format!(
            "the vendor does not hold what it should:\n{}",
            wrong.join("\n")
        ));
    }
    if args.once {
        if !args.empty {
            println!("\nThe vendor holds exactly what it should.");
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

fn set_up(data: &Path, instant: bool) -> Result<Corridor, String> {
    let setup = match instant {
        true => Setup::instant(),
        false => Setup::default(),
    };
    let data = std::path::absolute(data).map_err(|error| error.to_string())?;
    Corridor::start(&data, setup)
}

/// Writes the ready file whole, so that who waits for it never reads half of it.
fn announce(stage: &Corridor, file: &Path) -> Result<(), String> {
    let document = json!({
        "tenants": [{
            "name": TENANT,
            "app": "knowbe4",
            "scim_url": stage.gateway.scim_url(TENANT),
            "token": stage.token,
            "vendor_url": stage.vendor.url(),
        }],
        "admin_url": stage.gateway.admin_url(),
        "admin_token": stage.gateway.admin_token()?,
    });
    let half = file.with_extension("partial");
    std::fs::write(&half, document.to_string())
        .and_then(|()| std::fs::rename(&half, file))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// One initial cycle and one incremental cycle, in the order of calls that Entra makes.
async fn provision(entra: &Entra, people: &[Person], events: &[Event]) -> Result<(), String> {
    let bar = ProgressBar::new((people.len() + events.len()) as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg:<14} [{bar:32}] {pos}/{len} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message("initial cycle");
    for person in people {
        if entra.look_up(&person.user_name()).await?.is_none() {
            entra.create(&person.as_scim()).await?;
        }
        bar.inc(1);
    }
    bar.set_message("changes");
    for event in events {
        happen(entra, event).await?;
        bar.inc(1);
    }
    bar.finish_with_message("done");
    Ok(())
}

async fn happen(entra: &Entra, event: &Event) -> Result<(), String> {
    let find = async |user_name: &str| -> Result<String, String> {
        let id = entra.look_up(user_name).await?;
        id.ok_or_else(|| format!("{user_name} is not there any more"))
    };
    match event {
        Event::Promotion {
            user_name,
            title,
            department,
        } => {
            let id = find(user_name).await?;
            entra.read(&id).await?;
            let path = format!("{}:department", directory::ENTERPRISE);
            let operations = json!([
                { "op": "Replace", "path": "title", "value": title },
                { "op": "Replace", "path": path, "value": department },
            ]);
            entra.patch(&id, operations).await?;
        }
        Event::Leave(user_name) => {
            entra.disable(&find(user_name).await?).await?;
        }
        Event::Return(user_name) => {
            let operation = json!([{ "op": "Replace", "path": "active", "value": "True" }]);
            entra.patch(&find(user_name).await?, operation).await?;
        }
        Event::Removal(user_name) => entra.delete(&find(user_name).await?).await?,
    }
    Ok(())
}

/// Reads every account from the simulated vendor, over its own API as any other program would.
async fn ask_vendor(url: &str) -> Result<Vec<Value>, String> {
    let query = "query { users(per: 1000, page: 1, status: ALL) { nodes { email firstName lastName \
                 jobTitle department employeeNumber mobilePhoneNumber managerEmail archived } } }";
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(|error| error.to_string())?;
    loop {
        let response = client
            .post(format!("{url}/graphql"))
            .bearer_auth(API_KEY)
            .json(&json!({ "query": query }))
            .send()
            .await
            .map_err(|error| error.to_string())?;
        if response.status() == reqwest::StatusCode::TOO_MANY_REQUESTS {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            continue;
        }
        let mut answer: Value = response.json().await.map_err(|error| error.to_string())?;
        return match answer["data"]["users"]["nodes"].take() {
            Value::Array(nodes) => Ok(nodes),
            _ => Err(format!("the vendor answers {answer}")),
        };
    }
}

fn differences(people: &[Person], held: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for person in people {
        let wanted = person.at_knowbe4();
        let found: Vec<&Value> = held
            .iter()
            .filter(|it| it["email"] == wanted["email"])
            .collect();
        match found.as_slice() {
            [one] if **one == wanted => {}
            [] => wrong.push(format!("  missing    {}", wanted["email"])),
            [one] => wrong.push(format!("  different  {one}\n  wanted     {wanted}")),
            _ => wrong.push(format!("  {} times   {}", found.len(), wanted["email"])),
        }
    }
    if held.len() != people.len() {
        wrong.push(format!(
            "  {} accounts instead of {}",
            held.len(),
            people.len()
        ));
    }
    wrong
}

fn table(held: &[Value]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["email", "name", "job title", "department", "no.", "state"]);
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    for account in held {
        let archived = account["archived"] == Value::Bool(true);
        table.add_row([
            text(&account["email"]),
            format!(
                "{} {}",
                text(&account["firstName"]),
                text(&account["lastName"])
            ),
            text(&account["jobTitle"]),
            text(&account["department"]),
            text(&account["employeeNumber"]),
            if archived { "archived" } else { "active" }.to_owned(),
        ]);
    }
    table
}
