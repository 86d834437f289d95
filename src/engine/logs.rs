//! The services' own logs, as they are written.

use tokio::sync::mpsc;

use super::hosts::{Hosts, NETWORK};
use super::world::Unusable;
use crate::core::ids::{ActionId, Epoch, HostId};
use crate::script::{Script, Site};

impl Hosts {
    /// Runs a script that changes nothing and hands out each line that it prints, until it ends;
    /// one that goes on for as long as somebody listens ends with this future.
    ///
    /// # Errors
    /// If the host cannot be reached, or the script broke off or failed.
    pub async fn listen(
        &self,
        host: &HostId,
        script: impl FnOnce(&Site) -> Script,
        lines: &mpsc::Sender<String>,
    ) -> Result<(), Unusable> {
        let link = self.link(host)?;
        let script = script(&self.site(link, Epoch::default(), ActionId::default()));
        let connection = self.connection(link).await?;
        match connection
            .listen(&script.text, script.deadline + NETWORK, lines)
            .await
        {
            Ok(output) if output.status == 0 => Ok(()),
            Ok(output) => Err(Unusable {
                why: format!("{host}: its logs cannot be read: {}", output.complaint()),
            }),
            Err(error) => {
                if error.is_unknown() {
                    self.forget(link, connection).await;
                }
                Err(Unusable {
                    why: error.to_string(),
                })
            }
        }
    }
}
