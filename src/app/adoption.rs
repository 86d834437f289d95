//! A history in front of a fleet that another one deployed: what runs there is learnt from the
//! hosts.
//!
//! Each host keeps the whole definition of its releases. A history that does not know what runs
//! adopts it as a revision, so that it is probed as it was then, and can be rolled back to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::environment::FleetConnection;
use super::error::Error;
use super::notice::Notice;
use super::ownership;
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

/// How many hosts are asked for definitions, one after the other: those that hold a release mostly
/// hold all.
const HOSTS_ASKED_MAX: usize = 8;

/// What becomes of releases that the history does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// They are stored as revisions. The lease must be held.
    Keep,
    /// They are revisions for this process alone.
    Show,
    /// They are only probed by their own definitions.
    Ignore,
}

impl Session {
    /// Takes over what the hosts tell before the verb is permitted, and keeps what was found for
    /// it. A rollout of this history that is paused has the word first.
    pub(crate) async fn go_by_hosts(&mut self) -> Result<(), Error> {
        if self.history.state() != ServiceState::Paused {
            self.found = Some(Box::pin(self.adopt(Adopt::Keep)).await?);
        }
        Ok(())
    }

    /// Looks at the hosts, refuses those that are not this fleet's, and adopts what the history
    /// does not know.
    pub(crate) async fn adopt(&mut self, adopt: Adopt) -> Result<ObservedFleet, Error> {
        let mut world = self.world(self.definitions(), None);
        let (preflight, adopted) = self.look(&mut world).await?;
        ownership::permit(self, &preflight.owners, &preflight.identities)?;
        if let Some(owner) = self.last_elsewhere(&preflight.owners)? {
            let owner = owner.told(self.now());
            self.env.tell(&Notice::DeployedElsewhere(owner));
        }
        if adopt != Adopt::Ignore {
            self.take_over(&preflight, &adopted, adopt)?;
        }
        Ok(ObservedFleet { world, preflight })
    }

    /// Looks at the hosts, and gives what was found and what the history lacks of it.
    ///
    /// That is nothing where the last rollout is one of its own.
    pub(crate) async fn look(
        &mut self,
        world: &mut Arc<dyn FleetConnection>,
    ) -> Result<(Preflight, Vec<Adoption>), Error> {
        let definitions = self.definitions();
        let mut preflight = self.preflight(world, &definitions).await;
        let current = self
            .history
            .current()
            .map(|current| current.release.clone());
        let unknown = |release: &ReleaseId| !definitions.contains_key(release);
        let running = running(&preflight);
        let is_overtaken = self.last_elsewhere(&preflight.owners)?.is_some();
        if !is_overtaken && !running.iter().any(unknown) {
            return Ok((preflight, Vec::new()));
        }
        let kept = self.kept(&**world, &preflight).await;
        self.on_hosts = kept
            .iter()
            .map(|(id, (_, definition))| (id.clone(), definition.clone()))
            .collect();
        if running
            .iter()
            .any(|release| unknown(release) && kept.contains_key(release))
        {
            let definitions = self.definitions();
            self.update_world(world, definitions.clone(), None);
            preflight = self.preflight(world, &definitions).await;
        }
        if !is_overtaken {
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

    /// Makes revisions of what is to be adopted.
    pub(crate) fn take_over(
        &mut self,
        found: &Preflight,
        adopted: &[Adoption],
        adopt: Adopt,
    ) -> Result<(), Error> {
        let owner = owner::newest(&found.owners);
        adopted
            .iter()
            .try_for_each(|adoption| self.take_over_one(adoption, owner, adopt == Adopt::Keep))
    }

    /// Looks at the hosts. Those of another fleet are left out, and machines that are listed twice
    /// are taken once.
    pub async fn preflight(
        &self,
        world: &Arc<dyn FleetConnection>,
        definitions: &BTreeMap<ReleaseId, Definition>,
    ) -> Preflight {
        let mut found = preflight(
            world,
            &self.hosts(),
            self.traffic().as_ref(),
            definitions,
            &*self.clock,
        )
        .await;
        let problems = ownership::problems(self, &found.owners, &found.identities);
        found
            .fleet
            .hosts
            .retain(|host, _| !problems.contains_key(host));
        found
    }

    /// Who deployed last, if that was not from here.
    pub(crate) fn last_elsewhere(
        &self,
        owners: &BTreeMap<HostId, Owner>,
    ) -> Result<Option<Owner>, Error> {
        let epoch = self.store.epoch(&self.subject)?;
        let mut owners = owners.clone();
        owners.retain(|_, owner| owner.fleet == self.subject.fleet);
        Ok(last_from_elsewhere(&owners, &self.history_id, epoch).cloned())
    }

    /// What the hosts keep of the releases that the history does not know, or that are not the
    /// current one.
    async fn kept(
        &self,
        world: &dyn FleetConnection,
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
                        .chain(host.instances().map(|(_, is)| &is.release))
                        .collect(),
                )
            })
            .collect();
        let mut wanted: BTreeSet<_> = hosts
            .iter()
            .flat_map(|(_, releases)| releases.iter().copied())
            .collect();
        let mut asked = 0;
        let mut kept = BTreeMap::new();
        for (host, releases) in &hosts {
            if asked == HOSTS_ASKED_MAX || !releases.iter().any(|release| wanted.contains(release))
            {
                continue;
            }
            asked += 1;
            for release in world.kept_releases(host).await {
                // What a host says is not taken on trust: the definition must have the digest.
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

    fn take_over_one(
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
        };
        let at = owner
            .map(|owner| owner.at)
            .or(adoption.at)
            .unwrap_or_else(|| self.now());
        let version = definition.version.clone();
        if keep {
            let replicas = self.amounts()?.replicas;
            let revision = self
                .store
                .adopt(&self.subject, &new, adoption.proven, replicas, at)?;
            self.env.tell(&Notice::Adopted { version, revision });
            self.read_history()?;
        } else {
            self.history
                .revisions
                .push(shown(new, self.next_revision(), adoption.proven, at));
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

fn shown(new: NewRevision, revision: Revision, proven: bool, at: Time) -> RevisionRecord {
    let NewRevision {
        release,
        definition,
        playbook,
        who,
        reason,
        verb,
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
    }
}

/// The releases that instances run.
pub fn running(found: &Preflight) -> BTreeSet<ReleaseId> {
    found
        .fleet
        .instances()
        .map(|(.., instance)| instance.release.clone())
        .collect()
}
