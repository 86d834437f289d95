//! Makes the connections of a run and owns what they share.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::control::{self, ControlDir};
use super::error::ConnectError;
use super::jump::{self, Jumps};
use super::local::Local;
use super::login::Login;
use super::ssh::Ssh;
use super::ssh_config::{SshConfigs, SshSettings};
use crate::config::Transport;
use crate::core::time::Human;
use crate::remote::connection::{Connection, ConnectionKind, Delays, RootAccess, SCRIPTS_MAX};
use crate::remote::target::{HostLogin, Target};

/// The limit of scripts that run concurrently on this machine: with more, scripts on a large local
/// fleet would take longer than their deadline.
const LOCAL_SCRIPTS_MAX: usize = 64;

/// Makes connections to hosts. Connections over SSH share a directory for their control
/// sockets, and the logins at jump hosts. Both are created on first use.
///
/// The owner must [close](Connector::close) it after the connections. If it is dropped, or its
/// process is killed, every ssh process and the directory disappear a moment later.
#[derive(Debug)]
pub struct Connector {
    /// Where the directory is made.
    parent: PathBuf,
    control_dir: Mutex<Option<Arc<ControlDir>>>,
    configs: SshConfigs,
    jumps: Jumps,
    /// The scripts on this machine, which all hosts with a local transport share.
    local_scripts: Arc<Semaphore>,
}

impl Default for Connector {
    fn default() -> Self {
        Self::in_dir(control::parent())
    }
}

impl Connector {
    /// A connector with its directory below `parent`, an existing directory with a short path,
    /// because the path of a control socket has about 100 bytes at most. The default is the user's
    /// runtime directory, or the directory for temporary files.
    pub fn in_dir(parent: impl Into<PathBuf>) -> Self {
        Self {
            parent: parent.into(),
            control_dir: Mutex::default(),
            configs: SshConfigs::default(),
            jumps: Jumps::default(),
            local_scripts: Arc::new(Semaphore::new(LOCAL_SCRIPTS_MAX)),
        }
    }

    /// Connects to a host.
    ///
    /// Temporary failures (a busy server, a reset, no answer) are retried, for three connect
    /// timeouts at most. ship logs in at a jump host first, with the same retries, and only once
    /// for all hosts behind it.
    ///
    /// # Errors
    /// If the login fails, with the output of ssh and the next step. [`ConnectError::is_final`]
    /// returns whether a retry would fail, too.
    pub async fn connect(&self, target: &Target) -> Result<Connection, ConnectError> {
        let began = Instant::now();
        let kind = match target.transport {
            Transport::Local => ConnectionKind::Local(Local),
            Transport::Ssh => ConnectionKind::Ssh(Box::new(self.connect_over_ssh(target).await?)),
        };
        let host_login = HostLogin {
            name: target.name.clone(),
            user: target.ssh.user.clone(),
        };
        tracing::debug!(host = %target.name, address = target.address, "connected in {}", Human(began.elapsed()));
        let delays = std::sync::Mutex::new(Delays {
            login: began.elapsed(),
            ..Delays::default()
        });
        Ok(Connection {
            login: host_login,
            root: RootAccess {
                escalation: target.ssh.escalation,
                password: target.sudo_password.clone(),
                first_script: Mutex::default(),
            },
            scripts: match target.transport {
                Transport::Local => Arc::clone(&self.local_scripts),
                Transport::Ssh => Arc::new(Semaphore::new(SCRIPTS_MAX)),
            },
            kind,
            delays,
        })
    }

    async fn connect_over_ssh(&self, target: &Target) -> Result<Ssh, ConnectError> {
        let mut login = Login::at(target);
        let control_dir = self.control_dir(&login).await?;
        let config = self.configs.of(target.ssh.config.as_ref()).await;
        let config = config.as_deref();
        let query = || SshSettings::query(&login.options, &login.address);
        let mut settings = None;
        if target.is_kept() && config.is_some_and(|config| config.is_dynamic) {
            settings = query().await;
        }
        let key = login.key(target, config, settings.as_ref(), &[]);
        if let Some(key) = &key
            && let Some(ssh) = Ssh::reuse(&login, key, control_dir.path()).await
        {
            return Ok(ssh);
        }
        // Nothing is open yet, as far as ship itself knows.
        if settings.is_none() && (key.is_some() || config.is_none_or(|it| it.mentions_route)) {
            settings = query().await;
        }
        if let Some(socket) = settings.as_ref().and_then(SshSettings::control_socket)
            && let Some(ssh) = Ssh::of_user(&login, socket, control_dir.path()).await
        {
            return Ok(ssh);
        }
        let route = self.jumps.route(target, settings.as_ref(), &self.configs);
        let route = route.await?;
        login.proxy_command.clone_from(&route.proxy_command);
        let before: Vec<_> = route.logins().collect();
        login.keep(key, settings.as_ref(), &before).await;
        let via = jump::open_route(&route, control_dir.path()).await?;
        if let Some(hop) = &via {
            login.destination = format!(
                "{} (through the jump host {})",
                login.destination,
                hop.name()
            );
        }
        Ssh::connect(&login, via, control_dir.path()).await
    }

    async fn control_dir(&self, login: &Login) -> Result<Arc<ControlDir>, ConnectError> {
        let mut control_dir = self.control_dir.lock().await;
        if let Some(made) = control_dir.as_ref() {
            return Ok(Arc::clone(made));
        }
        let made = ControlDir::make(&self.parent);
        let made = made.map_err(|e| {
            login.local_error(format!(
                "cannot create a directory in {}: {e}",
                self.parent.display()
            ))
        })?;
        Ok(Arc::clone(control_dir.insert(Arc::new(made))))
    }

    /// Closes what the connections share: the logins at jump hosts, and the directory. Takes a
    /// few seconds at most.
    pub async fn close(&self) {
        self.jumps.close().await;
        if let Some(control_dir) = self
            .control_dir
            .lock()
            .await
            .take()
            .and_then(Arc::into_inner)
        {
            control_dir.remove().await;
        }
    }
}
