//! The face that a system shows to browsers and programs: routes, JSON, pages, live values, WebSockets.
//!
//! `wire` knows what the bytes of HTTP mean and nothing of who speaks. This crate stands between it and a system's
//! shard: it keeps a connection's place in its requests and answers, its bounds and its deadlines, and says it all
//! through the outbox. Like a shard it is told and never asks, so it runs in the simulator as it does on cores.
//!
//! A shard holds one [`Site`], passes on the events of its connections, and matches what comes:
//!
//! ```
//! # use machine::{ConnId, Input, Now, Outbox};
//! use web::{Answer, Event, Face, Route, Site};
//!
//! #[derive(Clone, Copy)]
//! enum To { List, Task }
//!
//! fn site() -> Site<To> {
//!     Site::new(Face::default(), [Route::get("/tasks", To::List), Route::get("/tasks/{id}", To::Task)], None)
//! }
//!
//! fn on_bytes(site: &mut Site<To>, now: Now, conn: ConnId, input: &mut Input<'_>, out: &mut impl Outbox) {
//!     while let Some(event) = site.take(now, conn, input, out) {
//!         match event {
//!             Event::Ask(ask) => match ask.to {
//!                 To::List => site.json(now, ask.id, 200, &["one", "two"], out),
//!                 To::Task => site.answer(now, ask.id, Answer::text(200, &ask.parameters.get("id")), out),
//!             },
//!             Event::Part(..) | Event::Whole(_) | Event::Message(..) => unreachable!("no route has them"),
//!         }
//!     }
//! }
//! ```
//!
//! Besides, it calls [`Site::open`] for what its door accepted, [`Site::end`], [`Site::room`], [`Site::timer`] for
//! [`TIMER`], [`Site::gathered`] for [`TICKET`], [`Site::drain`], and adds [`Site::gauges`] to its own. Every face
//! has `/metrics`, `/healthz`, `/live` (all gauges as server-sent events), `/kit.css` and `/kit.js`.
//!
//! An ask may be answered later (a long poll, another core's answer): its [`AskId`] is two words that cross cores.
//! Answers leave in the order of the requests whoever answers first.
#![forbid(unsafe_code)]

mod answer;
mod ask;
mod asset;
mod body;
pub mod face;
mod limits;
mod live;
mod place;
mod query;
mod read;
mod route;
mod say;
mod session;
mod sessions;
mod site;
mod socket;
mod tokens;

pub use answer::{Answer, Content, JSON, TEXT};
pub use ask::{Ask, AskId};
pub use asset::{Asset, ICON, SCRIPT, STYLE};
pub use face::{Face, Watched};
pub use limits::Limits;
pub use live::GAUGES;
pub use query::Query;
pub use read::{Event, Message};
pub use route::{BODY_MAX, BodyRule, PARAMETERS_MAX, Parameters, Route, Slash};
pub use site::{Over, Site, TICKET, TIMER};
pub use tokens::Tokens;
pub use wire::http::Method;
