//! Makes the connections of a run, and keeps what they share.

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
use crate::config::Transport;
use crate::core::time::Human;
use crate::remote::connection::{Connection, ConnectionKind, Delays, SCRIPTS_MAX};
use crate::remote::target::{HostLogin, Target};

/// Makes connections to hosts. Those over SSH share a directory for their control sockets and the
/// logins at jump hosts: both are made when they are first needed.
///
/// To be [closed](Connector::close), after the connections. Dropped, or killed with its process, it
/// leaves nothing either: a moment later every ssh process and the directory are gone.
#[derive(Debug)]
pub struct Connector {
    /// Where the directory is made.
    parent: PathBuf,
    control_dir: Mutex<Option<Arc<ControlDir>>>,
    jumps: Jumps,
}

impl Default for Connector {
    fn default() -> Self {
        Self::below(control::parent())
    }
}

impl Connector {
    /// One that has its directory below `parent`, an existing directory with a short path: a
    /// control socket's path has some 100 bytes at most. The default is the user's runtime
    /// directory, or the one for temporary files.
    pub fn below(parent: impl Into<PathBuf>) -> Self {
        Self {
            parent: parent.into(),
            control_dir: Mutex::default(),
            jumps: Jumps::default(),
        }
    }

    /// Connects to a host.
    ///
    /// A refusal that may pass (a busy server, a reset, no answer) is tried again, for three
    /// connect timeouts at most. A jump host on the way is logged in to first, under the same rule,
    /// and once for all hosts behind it.
    ///
    /// # Errors
    /// What ssh said, and what to do about it; [`ConnectError::is_final`] tells whether another try
    /// could help.
    pub async fn connect(&self, target: &Target) -> Result<Connection, ConnectError> {
        let began = Instant::now();
        let way = match target.transport {
            Transport::Local => ConnectionKind::Local(Local),
            Transport::Ssh => ConnectionKind::Ssh(Box::new(self.over_ssh(target).await?)),
        };
        let place = HostLogin {
            name: target.name.clone(),
            user: target.ssh.user.clone(),
        };
        tracing::debug!(host = %target.name, address = target.address, "connected in {}", Human(began.elapsed()));
        let delays = std::sync::Mutex::new(Delays {
            login: began.elapsed(),
            ..Delays::default()
        });
        Ok(Connection {
            place,
            sudo: target.ssh.sudo,
            scripts: Semaphore::new(SCRIPTS_MAX),
            way,
            delays,
        })
    }

    async fn over_ssh(&self, target: &Target) -> Result<Ssh, ConnectError> {
        let mut login = Login::at(target);
        let control_dir = self.control_dir(&login).await?;
        let route = self.jumps.route(target).await?;
        login.proxy_command.clone_from(&route.proxy_command);
        let via = jump::open(&route, target, control_dir.path()).await?;
        if let Some(hop) = &via {
            login.place = format!("{}, behind the jump host {},", login.place, hop.name());
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
            login.failed_here(format!("a directory in {}: {e}", self.parent.display()))
        })?;
        Ok(Arc::clone(control_dir.insert(Arc::new(made))))
    }

    /// Ends what connections share: the logins at jump hosts, and the directory. Takes a few
    /// seconds at most.
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
