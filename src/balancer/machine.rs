//! The machine on which a balancer runs, and what ship knows about it between two calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::error::{SwitchError, switch_result};
use super::link::{Link, SocketError};
use super::process_generation::ProcessGeneration;
use crate::config::AdminSocket;
use crate::core::fleet::traffic::BalancerState;
use crate::core::ids::{Epoch, HostId};
use crate::core::time::Time;
use crate::remote::{HostSite, HostUnavailable};
use crate::script::{self, HostContext, Script, ScriptEnd};

/// How many commands are sent to a socket of the machine concurrently: by default, `HAProxy`
/// accepts ten connections there.
const COMMANDS_CONCURRENT_MAX: usize = 4;

pub struct BalancerMachine {
    site: HostSite,
    link: Arc<dyn Link>,
    /// The newest epoch that the machine had seen at the first observation.
    epoch: OnceCell<Epoch>,
    commands: Semaphore,
    /// Held while a script changes the balancer: another script would only wait for the lock on the
    /// machine, and eventually time out.
    switch_lock: Mutex<()>,
    generation: ProcessGeneration,
}

impl BalancerMachine {
    /// A machine of which nothing is known yet.
    pub fn new(site: HostSite, link: Arc<dyn Link>) -> Self {
        Self {
            site,
            link,
            epoch: OnceCell::new(),
            commands: Semaphore::new(COMMANDS_CONCURRENT_MAX),
            switch_lock: Mutex::new(()),
            generation: ProcessGeneration::default(),
        }
    }

    pub(super) fn name(&self) -> &HostId {
        &self.site.target.name
    }

    pub(super) fn site(&self) -> &HostSite {
        &self.site
    }

    /// Identifies the process of the balancer that responds.
    pub(super) fn generation(&self) -> &ProcessGeneration {
        &self.generation
    }

    /// Sends a command to a socket of the machine.
    pub(super) async fn send_command(
        &self,
        socket: &AdminSocket,
        command: &str,
        deadline: Duration,
    ) -> Result<String, SocketError> {
        let _permit = self.commands.acquire().await;
        self.link.send_command(socket, command, deadline).await
    }

    /// Runs a script that changes nothing, and reads the state that it prints.
    pub(super) async fn observe_by(
        &self,
        script: &Script,
    ) -> Result<BalancerState, HostUnavailable> {
        let stdout = self.link.run(script).await?;
        match script::read_balancer_report(&stdout)
            .map_err(|unreadable| self.unavailable(&unreadable.to_string()))?
        {
            (ScriptEnd::Failed(why), _) => Err(self.unavailable(&why)),
            (_, view) => Ok(view),
        }
    }

    /// Runs a script that makes a change, one at a time, and reads the state that it prints.
    pub(super) async fn switch_by(&self, script: &Script) -> Result<BalancerState, SwitchError> {
        let _permit = self.switch_lock.lock().await;
        let stdout = self.link.run(script).await?;
        let (end, view) = script::read_balancer_report(&stdout)
            .map_err(|unreadable| SwitchError::Unknown(format!("{}: {unreadable}", self.name())))?;
        switch_result(self.name(), end).map(|()| view)
    }

    /// The newest epoch that the machine had seen at the first observation. `site` is the context
    /// of a script that changes nothing.
    pub(super) async fn epoch(&self, site: &HostContext) -> Result<Epoch, HostUnavailable> {
        let observe = async || {
            let stdout = self.link.run(&script::observe(site)).await?;
            // Only ages in the reply depend on the clock, and they are not used here.
            let reply = script::read_reply(&stdout, Time::default());
            reply
                .map(|reply| reply.observation.epoch)
                .map_err(|error| self.unavailable(&error.to_string()))
        };
        self.epoch.get_or_try_init(observe).await.copied()
    }

    /// Makes the machine reject older epochs than that of `site`. The changes of one epoch may
    /// reach it concurrently, because their order does not matter.
    pub(super) async fn claim(&self, site: &HostContext) -> Result<(), SwitchError> {
        let stdout = self.link.run(&script::claim(site)).await?;
        let reply = script::read_reply(&stdout, Time::default())
            .map_err(|unreadable| SwitchError::Unknown(format!("{}: {unreadable}", self.name())))?;
        switch_result(self.name(), reply.end)
    }

    fn unavailable(&self, why: &str) -> HostUnavailable {
        HostUnavailable {
            why: format!("{}: {why}", self.name()),
        }
    }
}
