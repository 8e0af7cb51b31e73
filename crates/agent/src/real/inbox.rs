//! What waits to be looked at.

use tokio::sync::mpsc::Receiver;

use super::Message;

/// Messages, in the order in which they came.
pub(super) struct Inbox {
    messages: Receiver<Message>,
    /// Taken out to see what it is.
    ahead: Option<Message>,
}

impl Inbox {
    pub(super) fn of(messages: Receiver<Message>) -> Self {
        Self { messages, ahead: None }
    }

    /// The next one; nothing once nobody can send any more. Whoever gives up waiting loses none.
    pub(super) async fn next(&mut self) -> Option<Message> {
        match self.ahead.take() {
            Some(message) => Some(message),
            None => self.messages.recv().await,
        }
    }

    /// Leaves out those that are there already and follow at once, as long as this says so.
    pub(super) fn skip(&mut self, says_the_same: impl Fn(&Message) -> bool) {
        while self.ahead.is_none() {
            let Ok(message) = self.messages.try_recv() else { return };
            self.ahead = Some(message).filter(|message| !says_the_same(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    fn unit(name: &str) -> Message {
        Message::Unit(name.to_owned())
    }

    fn is(name: &str) -> impl Fn(&Message) -> bool {
        move |message| matches!(message, Message::Unit(other) if other == name)
    }

    #[tokio::test]
    async fn what_says_the_same_at_once_is_left_out_and_all_else_comes_in_its_order() {
        let (sender, receiver) = channel(16);
        let mut inbox = Inbox::of(receiver);
        for name in ["a", "a", "a", "b", "a", "b"] {
            sender.send(unit(name)).await.unwrap();
        }
        drop(sender);
        let mut seen = String::new();
        while let Some(Message::Unit(name)) = inbox.next().await {
            inbox.skip(is(&name));
            seen.push_str(&name);
        }
        assert_eq!(seen, "abab");
    }

    #[tokio::test]
    async fn what_was_looked_at_ahead_is_neither_lost_nor_overtaken() {
        let (sender, receiver) = channel(16);
        let mut inbox = Inbox::of(receiver);
        sender.send(unit("b")).await.unwrap();
        inbox.skip(is("a"));
        sender.send(unit("a")).await.unwrap();
        inbox.skip(is("a"));
        let order =
            [inbox.next().await, inbox.next().await].map(|message| message.is_some_and(|m| is("a")(&m)));
        assert_eq!(order, [false, true]);
    }
}
