//! Jump hosts: ship logs in once at each, and every host behind it uses that login.
//!
//! ssh alone logs in at the jump host again for every host, and a server refuses more than ten
//! concurrent unauthenticated logins (`MaxStartups`). Here the first host that needs a jump host
//! logs in, the others wait for that login, and then each gets a channel of the shared connection
//! (`ssh -W`). A channel is not a session, so `MaxSessions` does not limit it. The cost is that all
//! hosts share one TCP connection and one ssh process: a few hundred MB/s on one core, which is
//! more than the jump host's network usually carries. If that connection breaks, all hosts are lost
//! at once, as if the jump host had failed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::error::ConnectError;
use super::login::Login;
use super::ssh_config::{SshConfigs, SshSettings, run_ssh};
use super::ssh_error::SshRefusal;
use crate::remote::master::{HOSTS_MAX, Hop};
use crate::remote::target::Target;

/// The minimum time after a failed login before it is retried: a hundred hosts must not cause a
/// hundred failed logins.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// A jump host as `ssh_config` defines it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Jump {
    /// The options with which ssh finds it.
    options: Vec<OsString>,
    address: String,
    name: String,
    /// The `ssh_config` to read for it, if it is not the user's own.
    config: Option<PathBuf>,
}

/// The jump hosts of all targets.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    jump_hosts: Mutex<BTreeMap<Jump, Arc<JumpHost>>>,
}

#[derive(Debug, Default)]
pub(super) struct HostRoute {
    /// The jump hosts in order, the nearest to this machine first, with the login at each. Empty if
    /// ssh connects on its own.
    hops: Vec<(Arc<JumpHost>, Login)>,
    /// The user's `ProxyCommand` for the host itself, if it does not run ssh through a jump
    /// host.
    pub(super) proxy_command: Option<String>,
}

/// A jump host and the logins there.
#[derive(Debug)]
pub(super) struct JumpHost {
    jump: Jump,
    /// The configuration of the jump host itself.
    jump_config: OnceCell<JumpHostConfig>,
    logins: tokio::sync::Mutex<Logins>,
}

#[derive(Debug, Default)]
struct JumpHostConfig {
    /// The jump host in front of this one.
    next: Option<Jump>,
    /// The user's `ProxyCommand` for this jump host, if it does not run ssh through another
    /// one.
    proxy_command: Option<String>,
    /// Whether the user has a control connection there (`ControlPath`), over which ssh needs no
    /// login.
    has_control_connection: bool,
    /// `None` if `ssh -G` has failed.
    settings: Option<SshSettings>,
}

#[derive(Debug, Default)]
struct Logins {
    open: Vec<Arc<Hop>>,
    failure: Option<(Instant, ConnectError)>,
}

impl Jump {
    /// The jump host that these settings make ssh use, if it can be shared: the same arguments
    /// must apply to every host.
    fn from_settings(settings: &SshSettings, config: Option<&Path>) -> Option<Self> {
        match (&settings.proxy_jump, &settings.proxy_command) {
            (Some(list), _) => Self::parse_proxy_jump(list, config),
            (None, Some(command)) => Self::parse_proxy_command(command),
            (None, None) => None,
        }
    }

    /// Parses a `ProxyJump` as `ssh -G` prints it: `first,second,user@last:port`. ssh reaches
    /// the last one through all others.
    fn parse_proxy_jump(hops: &str, config: Option<&Path>) -> Option<Self> {
        if hops.contains('%') {
            return None;
        }
        let (before, last) = match hops.rsplit_once(',') {
            Some((before, last)) => (Some(before), last),
            None => (None, hops),
        };
        let (user, destination) = match last.rsplit_once('@') {
            Some((user, destination)) => (Some(user), destination),
            None => (None, last),
        };
        let (address, port) = match destination
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((address, port)) => (address, port.strip_prefix(':')),
            None => destination
                .split_once(':')
                .map_or((destination, None), |(address, port)| (address, Some(port))),
        };
        let mut options: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: OsString| options.extend([option.into(), value]);
        if let Some(path) = config {
            add("-F", path.into());
        }
        if let Some(user) = user {
            add("-l", user.into());
        }
        if let Some(port) = port {
            add("-p", port.into());
        }
        // Not `-J`: ssh does not combine it with the `ProxyCommand` that ship adds, which must take
        // precedence.
        if let Some(before) = before {
            add("-o", format!("ProxyJump={before}").into());
        }
        Some(Self {
            options,
            address: address.to_owned(),
            name: last.to_owned(),
            config: config.map(Path::to_owned),
        })
    }

    /// Parses a `ProxyCommand` of the kind that was common before `ProxyJump`: `ssh -W %h:%p
    /// bastion`. `None` for every other command.
    fn parse_proxy_command(command: &str) -> Option<Self> {
        const SWITCHES: [&str; 8] = ["-4", "-6", "-A", "-C", "-a", "-k", "-T", "-x"];
        const WITH_VALUE: [&str; 5] = ["-F", "-i", "-l", "-o", "-p"];
        let mut words = shlex::split(command)?.into_iter().peekable();
        words.next_if(|word| word == "exec");
        if Path::new(&words.next()?).file_name()? != "ssh" {
            return None;
        }
        let (mut options, mut address, mut config, mut forwards) = (Vec::new(), None, None, false);
        while let Some(word) = words.next() {
            match word.as_str() {
                "-W" => forwards = matches!(words.next()?.as_str(), "%h:%p" | "[%h]:%p"),
                "-J" => options.extend(["-o".to_owned(), format!("ProxyJump={}", words.next()?)]),
                // These would hide why a login failed.
                "-q" | "2>/dev/null" => {}
                switch if SWITCHES.contains(&switch) => options.push(word),
                option if WITH_VALUE.contains(&option) => {
                    let value = words.next()?;
                    if option == "-F" {
                        config = Some(PathBuf::from(&value));
                    }
                    options.extend([word, value]);
                }
                _ if word.starts_with('-') || address.is_some() => return None,
                _ => address = Some(word),
            }
        }
        let address = address.filter(|_| forwards)?;
        let is_plain =
            |word: &String| !word.contains(['%', '$', '`', '~', '*', '|', '&', ';', '<', '>']);
        let controls = |word: &String| word.to_ascii_lowercase().starts_with("control");
        if !options.iter().chain([&address]).all(is_plain) || options.iter().any(controls) {
            return None;
        }
        let options = options.into_iter().map(OsString::from).collect();
        Some(Self {
            options,
            name: address.clone(),
            address,
            config,
        })
    }

    fn login(&self, target: &Target) -> Login {
        Login {
            host: target.name.clone(),
            options: self.options.clone(),
            address: self.address.clone(),
            destination: format!("the jump host {}", self.name),
            is_jump: true,
            proxy_command: None,
            timeout: target.ssh.connect_timeout,
            keeping: None,
        }
    }

    async fn jump_config(&self) -> JumpHostConfig {
        let Some(settings) = SshSettings::query(&self.options, &self.address).await else {
            return JumpHostConfig::default();
        };
        let has_control_connection =
            settings.control_socket().is_some() && self.has_control_connection().await;
        let next = Jump::from_settings(&settings, self.config.as_deref());
        let proxy_command = settings.proxy_command.clone().filter(|_| next.is_none());
        JumpHostConfig {
            next,
            proxy_command,
            has_control_connection,
            settings: Some(settings),
        }
    }

    async fn has_control_connection(&self) -> bool {
        let mut words = vec![OsString::from("-O"), "check".into()];
        words.extend_from_slice(&self.options);
        words.extend(["--".into(), OsString::from(&self.address)]);
        run_ssh(&words)
            .await
            .is_some_and(|output| output.status.success())
    }
}

impl Jumps {
    /// The jump hosts between this machine and a host with these settings.
    pub(super) async fn route(
        &self,
        target: &Target,
        settings: Option<&SshSettings>,
        configs: &SshConfigs,
    ) -> Result<HostRoute, ConnectError> {
        let mut route = HostRoute::default();
        let Some(settings) = settings else {
            return Ok(route);
        };
        let mut next = Jump::from_settings(settings, target.ssh.config.as_deref());
        route.proxy_command = settings.proxy_command.clone().filter(|_| next.is_none());
        while let Some(jump) = next.take() {
            let jump_host = self.jump_host(jump);
            let mut login = jump_host.jump.login(target);
            if route
                .hops
                .iter()
                .any(|(known, _)| Arc::ptr_eq(known, &jump_host))
            {
                let message = "its `ProxyJump` is circular".to_owned();
                return Err(login.error(SshRefusal::Misconfigured, message, 0, Duration::ZERO));
            }
            let jump_config = jump_host
                .jump_config
                .get_or_init(|| jump_host.jump.jump_config())
                .await;
            if jump_config.has_control_connection {
                break;
            }
            next.clone_from(&jump_config.next);
            login.proxy_command.clone_from(&jump_config.proxy_command);
            route.hops.push((jump_host, login));
        }
        route.hops.reverse();
        route.keep(target, configs).await;
        Ok(route)
    }

    fn jump_host(&self, jump: Jump) -> Arc<JumpHost> {
        let new = |jump: &Jump| JumpHost {
            jump: jump.clone(),
            jump_config: OnceCell::new(),
            logins: tokio::sync::Mutex::default(),
        };
        let mut jump_hosts = lock(&self.jump_hosts);
        Arc::clone(
            jump_hosts
                .entry(jump)
                .or_insert_with_key(|jump| Arc::new(new(jump))),
        )
    }

    /// Closes every login. Hosts that are still connected through one lose their connection.
    pub(super) async fn close(&self) {
        let jump_hosts: Vec<_> = lock(&self.jump_hosts).values().cloned().collect();
        join_all(jump_hosts.iter().map(|jump_host| jump_host.close())).await;
    }
}

/// Opens the logins of a route that are not open yet, and returns the last one, through which
/// ssh reaches the host.
pub(super) async fn open_route(
    route: &HostRoute,
    dir: &Path,
) -> Result<Option<Arc<Hop>>, ConnectError> {
    let mut via = None;
    for (jump_host, login) in &route.hops {
        via = Some(jump_host.open_login(via, login, dir).await?);
    }
    Ok(via)
}

impl HostRoute {
    /// The logins at the jump hosts, the nearest to this machine first.
    pub(super) fn logins(&self) -> impl Iterator<Item = &Login> {
        self.hops.iter().map(|(_, login)| login)
    }

    /// Keeps the logins at the jump hosts if the target asks for it.
    async fn keep(&mut self, target: &Target, configs: &SshConfigs) {
        for number in 0..self.hops.len() {
            let (before, rest) = self.hops.split_at_mut(number);
            let before: Vec<_> = before.iter().map(|(_, login)| login).collect();
            let Some((jump_host, login)) = rest.first_mut() else {
                continue;
            };
            let settings = jump_host.jump_config.get();
            let settings = settings.and_then(|config| config.settings.as_ref());
            let config = configs.of(jump_host.jump.config.as_ref()).await;
            let key = login.key(target, config.as_deref(), settings, &before);
            login.keep(key, settings, &before).await;
            if let (Some(keeping), Some(config)) = (&mut login.keeping, config) {
                keeping.files.add_config(&config.paths);
            }
        }
    }
}

impl JumpHost {
    /// Returns a login that is shared by fewer than [`HOSTS_MAX`] hosts. Concurrent callers wait
    /// for the same login and share its failure.
    async fn open_login(
        &self,
        via: Option<Arc<Hop>>,
        login: &Login,
        dir: &Path,
    ) -> Result<Arc<Hop>, ConnectError> {
        let mut logins = self.logins.lock().await;
        if let Some((_, failure)) = logins
            .failure
            .as_ref()
            .filter(|(at, _)| at.elapsed() < RETRY_INTERVAL)
        {
            return Err(failure.clone().for_host(&login.host));
        }
        while let Some(hop) = logins.open.last() {
            if hop.is_alive().await {
                break;
            }
            logins.open.pop();
        }
        // The list itself holds one reference in addition to the users.
        if let Some(hop) = logins.open.last().filter(|hop| has_room(hop)) {
            hop.count_host();
            return Ok(Arc::clone(hop));
        }
        match Hop::make(self.jump.name.clone(), via, login, dir).await {
            Ok(hop) => {
                hop.count_host();
                let hop = Arc::new(hop);
                logins.open.push(Arc::clone(&hop));
                Ok(hop)
            }
            Err(failure) => {
                logins.failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    async fn close(&self) {
        let open = std::mem::take(&mut self.logins.lock().await.open);
        join_all(open.iter().map(|hop| hop.release())).await;
    }
}

/// Whether another host may connect through a login.
fn has_room(hop: &Arc<Hop>) -> bool {
    Arc::strong_count(hop) + hop.earlier_hosts() <= HOSTS_MAX
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments of `ssh` for the jump host of these proxy settings.
    fn jump_command(list: &str, command: &str) -> Option<String> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let settings = SshSettings {
            proxy_jump: some(list),
            proxy_command: some(command),
            ..SshSettings::default()
        };
        let jump = Jump::from_settings(&settings, Some(Path::new("/c")))?;
        let words = jump
            .options
            .iter()
            .map(|word| word.to_string_lossy().into_owned());
        Some(words.chain([jump.address]).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn jump_parses_proxy_jump_as_ssh_does() {
        let jump = |list| jump_command(list, "").unwrap();
        assert_eq!(jump("bastion"), "-F /c bastion");
        assert_eq!(jump("me@bastion:2222"), "-F /c -l me -p 2222 bastion");
        assert_eq!(jump("me@[10.0.0.1]:2222"), "-F /c -l me -p 2222 10.0.0.1");
        assert_eq!(jump("[fe80::1]"), "-F /c fe80::1");
        assert_eq!(
            jump("a@b:22,c,me@corp@bastion"),
            "-F /c -l me@corp -o ProxyJump=a@b:22,c bastion"
        );
        assert_eq!(
            jump_command("bastion-of-%h", ""),
            None,
            "each host has its own jump host"
        );
    }

    #[test]
    fn jump_shares_a_proxy_command_only_if_it_is_the_same_ssh_for_all_hosts() {
        let command = |command| jump_command("", command);
        for (text, words) in [
            ("ssh -W %h:%p bastion", "bastion"),
            (
                "exec /usr/bin/ssh -q -W [%h]:%p -l me -p 2222 bastion 2>/dev/null",
                "-l me -p 2222 bastion",
            ),
            ("ssh bastion -F '/a b' -W %h:%p", "-F /a b bastion"),
            (
                "ssh -a -J first,second -W '%h:%p' me@bastion",
                "-a -o ProxyJump=first,second me@bastion",
            ),
        ] {
            assert_eq!(command(text).as_deref(), Some(words), "{text}");
        }
        for other in [
            "nc -x proxy:1080 %h %p",
            "ssh bastion nc %h %p",
            "ssh -W %h:22 bastion",
            "ssh -W %h:%p %r@bastion",
            "ssh -W %h:%p -i ~/.ssh/id bastion",
            "ssh -W %h:%p -S /run/socket bastion",
            "ssh -o ControlPath=/run/socket -W %h:%p bastion",
            "ssh -W %h:%p $(cat bastion)",
            "ssh -W %h:%p",
            "ssh -W",
            "sh -c 'ssh -W %h:%p bastion'",
            "'",
            "",
        ] {
            assert_eq!(command(other), None, "{other}");
        }
    }
}
