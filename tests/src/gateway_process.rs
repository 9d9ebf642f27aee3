//! The real `gateway` binary as a child process, with a configuration, a data folder and ports of
//! its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a gateway may take until it serves.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What goes wrong here, already written for the person who runs the tests or the demo.
pub type Result<T> = std::result::Result<T, String>;

/// The configuration of a gateway under test.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for `tenants.toml`, the store and the log.
    pub dir: PathBuf,
    /// The tables after `[gateway]`: tenants, limits. TOML text.
    pub tables: String,
    /// Environment variables for the secrets that the tables refer to.
    pub env: Vec<(String, String)>,
    /// Folder of built connectors.
    pub connectors: PathBuf,
    /// A program in front of `gateway serve`, with its arguments: strace, for one.
    pub wrapper: Vec<String>,
}

impl Config {
    /// A configuration in `dir` with the given tables and the repository's built connectors.
    pub fn new(dir: &Path, tables: String) -> Self {
        Self {
            dir: dir.to_owned(),
            tables,
            env: Vec::new(),
            connectors: connectors_dir(),
            wrapper: Vec::new(),
        }
    }
}

/// A running gateway; killed when dropped.
pub struct Gateway {
    config: Config,
    listen: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

impl Gateway {
    /// Starts a gateway and waits until it is ready.
    pub fn start(config: Config) -> Result<Self> {
        // A port that was free a moment ago can be taken by somebody else: then others are tried.
        let mut last = String::new();
        for _ in 0..3 {
            let (listen, admin) = (free_port()?, free_port()?);
            write_config(&config, listen, admin)?;
            let child = spawn(&config)?;
            let mut gateway = Self {
                config: config.clone(),
                listen,
                admin,
                child,
            };
            match gateway.wait_until_ready() {
                Ok(()) => return Ok(gateway),
                Err(error) if error.contains("Address already in use") => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Ends the process at once, as a power cut of the process would: SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to stop (SIGTERM) and waits; returns whether it ended with exit code 0.
    pub fn stop(&mut self) -> Result<bool> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        sent.map_err(|error| format!("kill: {error}"))?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Ok(status.success())
    }

    /// Starts the process again on the same data and ports, and waits until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(&self.config)?;
        self.wait_until_ready()
    }

    /// Starts the process again on the same data and ports without waiting.
    pub fn respawn(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(&self.config)?;
        Ok(())
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                let log = self.log();
                return Err(format!("the gateway ended with {status}:\n{log}"));
            }
            if ready(self.admin) {
                return Ok(());
            }
            if started.elapsed() > START_DEADLINE {
                return Err(format!(
                    "the gateway is not ready after {START_DEADLINE:?}:\n{}",
                    self.log()
                ));
            }
            // Polling a process that starts: there is nothing to wait on but its socket.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The SCIM base URL of a tenant.
    pub fn scim_url(&self, tenant: &str) -> String {
        format!("http://{}/tenants/{tenant}/scim/v2", self.listen)
    }

    /// The admin listener's URL.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// The token that the gateway left for its own commands.
    pub fn admin_token(&self) -> Result<String> {
        let file = self.data_dir().join("admin-token");
        fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.config.dir.join("data")
    }

    /// The configuration it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the process has written to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.config.dir.join("gateway.log")).unwrap_or_default()
    }

    /// Runs a `gateway` command against this gateway's configuration.
    pub fn command(&self, args: &[&str]) -> Result<Ran> {
        run(&self.config, args)
    }

    /// Issues a token for a tenant with the `gateway token` command.
    pub fn token(&self, tenant: &str) -> Result<String> {
        issue_token(&self.config, tenant)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Issues a token with the `gateway token` command, whether a gateway runs or not.
pub fn issue_token(config: &Config, tenant: &str) -> Result<String> {
    let ran = run(config, &["--output", "json", "token", "issue", tenant])?;
    let issued: Value = serde_json::from_str(&ran.stdout)
        .map_err(|error| format!("token issue: {error}: {}{}", ran.stdout, ran.stderr))?;
    let token = issued["token"].as_str();
    token
        .map(str::to_owned)
        .ok_or_else(|| format!("token issue printed no token: {issued}"))
}

/// Runs a `gateway` command with a configuration.
pub fn run(config: &Config, args: &[&str]) -> Result<Ran> {
    let output = command(config, &[])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("gateway {}: {error}", args.join(" ")))?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The `gateway` binary that was built with this program.
pub fn gateway_binary() -> PathBuf {
    if let Some(chosen) = std::env::var_os("GATEWAY_BIN") {
        return chosen.into();
    }
    let this = std::env::current_exe().unwrap_or_default();
    let folder = this.parent().unwrap_or(Path::new("."));
    let folder = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder),
        _ => folder,
    };
    folder.join("gateway")
}

/// The repository's root.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where `make` puts built connectors.
pub fn connectors_dir() -> PathBuf {
    repository().join("connectors/dist")
}

fn command(config: &Config, wrapper: &[String]) -> Command {
    let mut words = wrapper.iter().map(PathBuf::from).chain([gateway_binary()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .current_dir(&config.dir)
        .arg("--config")
        .arg(config.dir.join("tenants.toml"))
        .envs(config.env.iter().map(|(name, value)| (name, value)));
    command
}

fn spawn(config: &Config) -> Result<Child> {
    let binary = gateway_binary();
    if !binary.is_file() {
        let binary = binary.display();
        return Err(format!(
            "{binary} is missing: build it with `cargo build -p gateway`"
        ));
    }
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(config.dir.join("gateway.log"))
        .map_err(|error| format!("gateway.log: {error}"))?;
    command(config, &config.wrapper)
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))
}

fn write_config(config: &Config, listen: SocketAddr, admin: SocketAddr) -> Result<()> {
    let text = format!(
        "[gateway]\nlisten = \"{listen}\"\nadmin_listen = \"{admin}\"\n\
         public_url = \"http://{listen}\"\nstore = \"sled:{}\"\nconnectors = \"{}\"\n\n{}",
        config.dir.join("data").display(),
        config.connectors.display(),
        config.tables
    );
    let file = config.dir.join("tenants.toml");
    fs::create_dir_all(&config.dir)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn free_port() -> Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}

/// One `GET /readyz` by hand: the harness must not need a runtime here.
fn ready(admin: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut socket) = std::net::TcpStream::connect(admin) else {
        return false;
    };
    let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    socket.write_all(request.as_bytes()).is_ok()
        && socket.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
