//! Whether a wish to leave is meant: a row that is patched, or deleted and written again, is missing in between.
//!
//! Leaving forgets the token and the certificate, which nothing on the switch brings back. So it waits until the wish has
//! stood for as long as configuration must before it counts (DESIGN.md section 4).

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Side, Wish};
use crate::real::SETTLED;
use crate::world::Trouble;

impl Side {
    /// Whether acting on this wish would take away what makes the switch a node.
    pub(super) fn would_leave(&self, wish: &Result<Wish, Trouble>) -> bool {
        match wish {
            Ok(Wish::None) => self.files.are_ours(),
            Ok(Wish::Alone(_)) => self.files.joined_to().is_some(),
            // Another cluster is joined only once it has proved itself.
            Ok(Wish::Join(..)) | Err(_) => false,
        }
    }

    /// Whether the wish stays the same until it counts.
    pub(super) async fn stands(&self, wish: &Result<Wish, Trouble>) -> bool {
        stays(&mut self.told.clone(), SETTLED, || self.wish() == *wish).await
    }
}

/// Whether it is so whenever a row changes within this time.
async fn stays(told: &mut watch::Receiver<u64>, time: Duration, is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + time;
    loop {
        match timeout_at(deadline, told.changed()).await {
            Ok(Ok(())) if is_so() => {}
            // Another wish; or nobody tells any more, as the agent ends.
            Ok(_) => return false,
            Err(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::sleep;

    use super::*;

    const HALF: Duration = Duration::from_millis(500);

    /// Whether a wish that is undone at these steps of half a second (and otherwise only told again) stands, and how
    /// many steps it took to know.
    async fn told_in_steps(undone: &[bool]) -> (bool, u128) {
        let (tell, mut told) = watch::channel(0);
        let is_so = AtomicBool::new(true);
        let begun = Instant::now();
        let teller = async {
            for undone in undone {
                sleep(HALF).await;
                is_so.store(!undone, Ordering::Relaxed);
                tell.send_modify(|times| *times += 1);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            stands = stays(&mut told, SETTLED, || is_so.load(Ordering::Relaxed)) => {
                (stands, begun.elapsed().as_millis() / HALF.as_millis())
            }
            () = teller => (false, 0),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_that_is_back_at_once_was_not_meant_to_be_gone() {
        assert_eq!(told_in_steps(&[true]).await, (false, 1));
        assert_eq!(told_in_steps(&[false, false, true]).await, (false, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_that_stands_counts_after_two_seconds_whatever_else_changes() {
        assert_eq!(told_in_steps(&[]).await, (true, 4));
        assert_eq!(told_in_steps(&[false, false, false]).await, (true, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn when_nobody_tells_any_more_nothing_counts() {
        let (tell, mut told) = watch::channel(0);
        drop(tell);
        assert!(!stays(&mut told, SETTLED, || true).await);
    }
}
