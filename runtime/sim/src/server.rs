//! A server of the test's, for shards that dial: what it says to what it hears. It is one value for all its
//! connections, called when bytes have arrived, and answers at once or after a while.

use crate::world::Client;
use core::time::Duration;

/// What a test's server does.
pub trait Server: 'static {
    /// Somebody has connected.
    fn on_open(&mut self, client: Client, say: &mut Say) {
        let _ = (client, say);
    }

    /// `heard` is all that has come from them and was not removed; remove what is done with.
    fn on_bytes(&mut self, client: Client, heard: &mut Vec<u8>, say: &mut Say);

    /// They have said all.
    fn on_end(&mut self, client: Client, say: &mut Say) {
        let _ = client;
        say.finish();
    }
}

impl<F: FnMut(Client, &mut Vec<u8>, &mut Say) + 'static> Server for F {
    fn on_bytes(&mut self, client: Client, heard: &mut Vec<u8>, say: &mut Say) {
        self(client, heard, say);
    }
}

/// One thing said.
#[derive(Clone, Debug)]
pub(crate) enum Speech {
    Bytes(Vec<u8>),
    Finish,
    Reset,
}

/// What a server says, in order.
#[derive(Debug, Default)]
pub struct Say {
    pub(crate) said: Vec<(Duration, Speech)>,
    after: Duration,
}

impl Say {
    /// Sends these bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.said.push((self.after, Speech::Bytes(bytes.to_vec())));
    }

    /// What follows is said so much later.
    pub fn wait(&mut self, span: Duration) {
        self.after += span;
    }

    /// Says that all is said.
    pub fn finish(&mut self) {
        self.said.push((self.after, Speech::Finish));
    }

    /// Resets the connection.
    pub fn reset(&mut self) {
        self.said.push((self.after, Speech::Reset));
    }
}
