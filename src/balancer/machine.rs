//! The machine on which a balancer runs, and what ship remembers of it between two calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::error::{SwitchError, judge_end};
use super::link::{Link, SocketError};
use super::process_generation::ProcessGeneration;
use crate::config::AdminSocket;
use crate::core::fleet::traffic::BalancerState;
use crate::core::ids::{Epoch, HostId};
use crate::core::time::Time;
use crate::remote::{HostSite, HostUnavailable};
use crate::script::{self, HostContext, Script, ScriptEnd};

/// How many questions are put to a socket of the machine together: `HAProxy` takes ten connections
/// there, and turns others away.
const QUESTIONS_TOGETHER: usize = 4;

pub struct BalancerMachine {
    site: HostSite,
    link: Arc<dyn Link>,
    /// The newest epoch that the machine had seen at the first observation.
    epoch: OnceCell<Epoch>,
    questions: Semaphore,
    /// Held while the balancer is told by a script: the next would only wait for the lock there,
    /// and give up in the end.
    turn: Mutex<()>,
    generation: ProcessGeneration,
}

impl BalancerMachine {
    /// A machine of which nothing is known yet.
    pub fn new(site: HostSite, link: Arc<dyn Link>) -> Self {
        Self {
            site,
            link,
            epoch: OnceCell::new(),
            questions: Semaphore::new(QUESTIONS_TOGETHER),
            turn: Mutex::new(()),
            generation: ProcessGeneration::default(),
        }
    }

    pub(super) fn name(&self) -> &HostId {
        &self.site.target.name
    }

    pub(super) fn site(&self) -> &HostSite {
        &self.site
    }

    /// Which process of the balancer answers.
    pub(super) fn generation(&self) -> &ProcessGeneration {
        &self.generation
    }

    /// Sends a question to a socket of the machine.
    pub(super) async fn ask(
        &self,
        socket: &AdminSocket,
        question: &str,
        deadline: Duration,
    ) -> Result<String, SocketError> {
        let _turn = self.questions.acquire().await;
        self.link.ask(socket, question, deadline).await
    }

    /// Runs a script that changes nothing, and reads the view that it prints.
    pub(super) async fn observe_by(
        &self,
        script: &Script,
    ) -> Result<BalancerState, HostUnavailable> {
        let stdout = self.link.run(script).await?;
        match script::read_view(&stdout)
            .map_err(|unreadable| self.unavailable(&unreadable.to_string()))?
        {
            (ScriptEnd::Failed(why), _) => Err(self.unavailable(&why)),
            (_, view) => Ok(view),
        }
    }

    /// Runs a script that makes a change, one at a time, and reads the view that it prints.
    pub(super) async fn switch_by(&self, script: &Script) -> Result<BalancerState, SwitchError> {
        let _turn = self.turn.lock().await;
        let stdout = self.link.run(script).await?;
        let (end, view) = script::read_view(&stdout)
            .map_err(|unreadable| SwitchError::Unknown(format!("{}: {unreadable}", self.name())))?;
        judge_end(self.name(), end).map(|()| view)
    }

    /// The newest epoch that the machine has seen, as it was at the first look; `site` is where a
    /// script runs that changes nothing.
    pub(super) async fn epoch(&self, site: &HostContext) -> Result<Epoch, HostUnavailable> {
        let observe = async || {
            let stdout = self.link.run(&script::observe(site)).await?;
            // Nothing of the reply is told by the clock but ages, and nobody reads those here.
            let reply = script::read_reply(&stdout, Time::default());
            reply
                .map(|reply| reply.observation.epoch)
                .map_err(|error| self.unavailable(&error.to_string()))
        };
        self.epoch.get_or_try_init(observe).await.copied()
    }

    /// Makes the machine refuse older epochs than that of `site`, or is refused. The orders of an
    /// epoch go to it side by side: they have no order among them.
    pub(super) async fn claim(&self, site: &HostContext) -> Result<(), SwitchError> {
        let stdout = self.link.run(&script::claim(site)).await?;
        let reply = script::read_reply(&stdout, Time::default())
            .map_err(|unreadable| SwitchError::Unknown(format!("{}: {unreadable}", self.name())))?;
        judge_end(self.name(), reply.end)
    }

    fn unavailable(&self, why: &str) -> HostUnavailable {
        HostUnavailable {
            why: format!("{}: {why}", self.name()),
        }
    }
}
