//! Adoption of releases that were deployed from another history.
//!
//! Each host keeps the complete definition of its releases. If the history does not know a release
//! that runs, ship adopts it as a revision, so that it is probed with its own readiness check and
//! can be rolled back to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::environment::FleetConnection;
use super::error::Error;
use super::notice::Notice;
use super::ownership;
use super::preparation::keep_lease;
use super::session::{ObservedFleet, Session};
use crate::config::release_id;
use crate::core::fleet::owner::{self, Owner, last_from_elsewhere};
use crate::core::ids::{HostId, ReleaseId, Revision};
use crate::core::policy::adoption::{Adoption, StagedRelease, adoptions};
use crate::core::policy::service_state::ServiceState;
use crate::core::release::Definition;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;
use crate::engine::{Preflight, preflight};
use crate::store::{NewRevision, RevisionRecord};

/// The most hosts that ship queries for definitions, one after another. The first one is usually
/// enough, because a host that keeps a release usually keeps all of them.
const HOSTS_QUERIED_MAX: usize = 8;

/// What to do with releases that the history does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// Store them as revisions. The lease must be held.
    Keep,
    /// Treat them as revisions in this process only.
    Show,
    /// Only probe them with their own definitions.
    Ignore,
}

impl Session {
    /// Adopts releases before the verb is permitted, and keeps the observation for the verb. A
    /// paused rollout of this history has priority: then nothing is adopted.
    pub(crate) async fn adopt_from_hosts(&mut self) -> Result<(), Error> {
        if self.history.state() != ServiceState::Paused {
            let store = self.store.clone();
            let adopted = keep_lease(&store, Box::pin(self.adopt(Adopt::Keep))).await;
            self.observed_fleet = Some(adopted?);
        }
        Ok(())
    }

    /// Observes the hosts, refuses those of another fleet, and adopts releases that the history
    /// does not know.
    pub(crate) async fn adopt(&mut self, adopt: Adopt) -> Result<ObservedFleet, Error> {
        let mut connection = self.connect(self.definitions(), None)?;
        let (preflight, adopted) = self.observe(&mut connection).await?;
        ownership::permit(self, &preflight.owners, &preflight.identities)?;
        if let Some(owner) = self.latest_deploy_elsewhere(&preflight.owners) {
            let owner = owner.describe(self.now());
            self.env.notify(&Notice::DeployedElsewhere(owner));
        }
        if adopt != Adopt::Ignore {
            self.record_adoptions(&preflight, &adopted, adopt)?;
        }
        Ok(ObservedFleet {
            connection,
            preflight,
        })
    }

    /// Observes the hosts; returns the observation and the releases to adopt.
    ///
    /// Nothing is adopted if the latest rollout belongs to this history.
    pub(crate) async fn observe(
        &mut self,
        connection: &mut Arc<dyn FleetConnection>,
    ) -> Result<(Preflight, Vec<Adoption>), Error> {
        let definitions = self.definitions();
        let mut preflight = self.preflight(connection, &definitions).await?;
        let current = self
            .history
            .current()
            .map(|current| current.release.clone());
        let unknown = |release: &ReleaseId| !definitions.contains_key(release);
        let running = running(&preflight);
        let was_deployed_elsewhere = self.latest_deploy_elsewhere(&preflight.owners).is_some();
        if !was_deployed_elsewhere && !running.iter().any(unknown) {
            return Ok((preflight, Vec::new()));
        }
        let kept = self.read_kept_releases(&**connection, &preflight).await;
        self.host_definitions = kept
            .iter()
            .map(|(id, (_, definition))| (id.clone(), definition.clone()))
            .collect();
        if running
            .iter()
            .any(|release| unknown(release) && kept.contains_key(release))
        {
            let definitions = self.definitions();
            self.update_connection(connection, definitions.clone(), None)?;
            preflight = self.preflight(connection, &definitions).await?;
        }
        if !was_deployed_elsewhere {
            return Ok((preflight, Vec::new()));
        }
        let thresholds = self
            .definitions()
            .into_iter()
            .map(|(id, known)| (id, known.readiness.thresholds()))
            .collect();
        let marks = kept
            .iter()
            .map(|(id, (mark, _))| (id.clone(), *mark))
            .collect();
        let mut known = BTreeMap::new();
        for record in &self.history.revisions {
            *known.entry(record.release.clone()).or_default() |= record.proven;
        }
        let now = self.now();
        let adopted = adoptions(
            &preflight.fleet,
            &marks,
            &known,
            current.as_ref(),
            &thresholds,
            now,
        );
        Ok((preflight, adopted))
    }

    /// Records the releases to adopt as revisions.
    pub(crate) fn record_adoptions(
        &mut self,
        found: &Preflight,
        adopted: &[Adoption],
        adopt: Adopt,
    ) -> Result<(), Error> {
        let owner = owner::newest(&found.owners);
        adopted
            .iter()
            .try_for_each(|adoption| self.record_adoption(adoption, owner, adopt == Adopt::Keep))
    }

    /// Observes the hosts. Hosts of another fleet are left out, and machines that are listed twice
    /// count once.
    ///
    /// # Errors
    /// If a host rejects the password for sudo.
    pub async fn preflight(
        &self,
        connection: &Arc<dyn FleetConnection>,
        definitions: &BTreeMap<ReleaseId, Definition>,
    ) -> Result<Preflight, Error> {
        let mut found = preflight(
            connection,
            &self.hosts(),
            self.traffic().as_ref(),
            definitions,
            &*self.clock,
        )
        .await;
        self.check_sudo_password()?;
        let problems = ownership::problems(self, &found.owners, &found.identities);
        found
            .fleet
            .hosts
            .retain(|host, _| !problems.contains_key(host));
        Ok(found)
    }

    /// Who deployed last, if it was not from this history.
    pub(crate) fn latest_deploy_elsewhere(
        &self,
        owners: &BTreeMap<HostId, Owner>,
    ) -> Option<Owner> {
        let epoch = self.records.epoch();
        let mut owners = owners.clone();
        owners.retain(|_, owner| owner.fleet == self.service_key.fleet);
        last_from_elsewhere(&owners, &self.history_id, epoch).cloned()
    }

    /// Reads the releases that the hosts keep, with their definitions. Skips hosts whose releases
    /// are known from the hosts before them.
    async fn read_kept_releases(
        &self,
        connection: &dyn FleetConnection,
        found: &Preflight,
    ) -> BTreeMap<ReleaseId, (StagedRelease, Definition)> {
        let hosts = found
            .fleet
            .hosts
            .iter()
            .filter(|(_, host)| host.is_reachable());
        let hosts: Vec<(&HostId, BTreeSet<_>)> = hosts
            .map(|(id, host)| {
                (
                    id,
                    host.releases
                        .iter()
                        .chain(host.instances().map(|(_, instance)| &instance.release))
                        .collect(),
                )
            })
            .collect();
        let mut wanted: BTreeSet<_> = hosts
            .iter()
            .flat_map(|(_, releases)| releases.iter().copied())
            .collect();
        let mut queried = 0;
        let mut kept = BTreeMap::new();
        for (host, releases) in &hosts {
            if queried == HOSTS_QUERIED_MAX
                || !releases.iter().any(|release| wanted.contains(release))
            {
                continue;
            }
            queried += 1;
            for release in connection.kept_releases(host).await {
                // Do not trust the host: the definition must have the digest of the release.
                let read = serde_json::from_str::<Definition>(&release.definition).ok();
                let Some(definition) = read.filter(|read| release_id(read) == release.id) else {
                    continue;
                };
                wanted.remove(&release.id);
                kept.insert(
                    release.id,
                    (
                        StagedRelease {
                            proven: release.proven,
                        },
                        definition,
                    ),
                );
            }
        }
        kept
    }

    fn record_adoption(
        &mut self,
        adoption: &Adoption,
        owner: Option<&Owner>,
        keep: bool,
    ) -> Result<(), Error> {
        let known = self.definitions();
        let Some(definition) = known.get(&adoption.release) else {
            return Ok(());
        };
        let owner = owner.filter(|_| adoption.runs);
        let new = NewRevision {
            release: adoption.release.clone(),
            definition: definition.clone(),
            playbook: String::new(),
            who: owner.map_or_else(|| "unknown".to_owned(), |owner| owner.who.clone()),
            reason: owner.map_or_else(
                || "adopted: found on the hosts".to_owned(),
                |owner| format!("adopted: deployed from {owner}"),
            ),
            verb: Verb::Adopt,
            contents_sha256: None,
        };
        let at = owner
            .map(|owner| owner.at)
            .or(adoption.at)
            .unwrap_or_else(|| self.now());
        let version = definition.version.clone();
        if keep {
            let replicas = self.amounts().replicas;
            let revision =
                self.store
                    .lock()
                    .adopt(&self.service_key, &new, adoption.proven, replicas, at)?;
            self.env.notify(&Notice::Adopted { version, revision });
            self.read_history()?;
        } else {
            self.history.revisions.push(adopted_record(
                new,
                self.next_revision(),
                adoption.proven,
                at,
            ));
        }
        Ok(())
    }

    fn next_revision(&self) -> Revision {
        Revision(
            self.history
                .revisions
                .last()
                .map_or(1, |newest| newest.revision.0 + 1),
        )
    }
}

fn adopted_record(new: NewRevision, revision: Revision, proven: bool, at: Time) -> RevisionRecord {
    let NewRevision {
        release,
        definition,
        playbook,
        who,
        reason,
        verb,
        contents_sha256,
    } = new;
    let (ended, outcome) = (Some(at), Some(Outcome::Succeeded));
    RevisionRecord {
        revision,
        release,
        definition,
        playbook,
        who,
        reason,
        verb,
        began: at,
        ended,
        outcome,
        proven,
        contents_sha256,
    }
}

/// The releases of all instances.
pub fn running(found: &Preflight) -> BTreeSet<ReleaseId> {
    found
        .fleet
        .instances()
        .map(|(.., instance)| instance.release.clone())
        .collect()
}
