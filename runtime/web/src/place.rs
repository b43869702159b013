//! What a request is for: a route of the system, or what every face has; and who may ask it.

use crate::ask::Manner;
use crate::asset::{Asset, ICON, SCRIPT, STYLE};
use crate::face::Watched;
use crate::route::{BODY_MAX, BodyRule, Found, Parameters, Speech};
use crate::site::Site;
use wire::http::{Method, RequestHead, Version};

/// What a request is for.
pub(crate) enum Place<'i, R> {
    Ask(R, Parameters<'i>, Speech),
    File(&'static Asset),
    Metrics,
    Health,
    Live,
    OtherMethods(String),
    Nothing,
}

impl<R: Copy> Site<R> {
    /// What a request is for: a route of the system, else what every face has.
    pub(crate) fn place<'i>(&self, head: &RequestHead<'i>) -> Place<'i, R> {
        let path = head.path();
        let mut is_known = false;
        match self.routes.find(&head.method, path) {
            Found::Route(route, parameters) => return Place::Ask(route.to(), parameters, route.speech),
            Found::OtherMethods => is_known = true,
            Found::Nothing => {}
        }
        let own = self.own(path);
        let reads = matches!(head.method, Method::Get | Method::Head);
        match (own, self.otherwise) {
            (Some(own), _) if reads => own,
            (Some(_), _) => Place::OtherMethods("GET, HEAD, OPTIONS".to_owned()),
            (None, _) if is_known => Place::OtherMethods(self.routes.allowed(path)),
            (None, Some(to)) => {
                let rule = BodyRule::Whole(BODY_MAX);
                Place::Ask(to, Parameters::default(), Speech::Plain(rule))
            }
            (None, None) => Place::Nothing,
        }
    }

    /// What every face has at that path.
    pub(crate) fn own<'i>(&self, path: &str) -> Option<Place<'i, R>> {
        let assets = self.face.assets.iter().chain([&STYLE, &SCRIPT, &ICON]);
        if let Some(asset) = assets.into_iter().find(|asset| asset.path == path) {
            return Some(Place::File(asset));
        }
        match (path, self.face.watched) {
            ("/metrics", Watched::Here) => Some(Place::Metrics),
            ("/healthz", Watched::Here) => Some(Place::Health),
            ("/live", Watched::Here) => Some(Place::Live),
            (_, Watched::Here | Watched::Elsewhere) => None,
        }
    }

    /// How that request is answered.
    pub(crate) fn manner(&self, head: &RequestHead<'_>) -> Manner {
        let origin = head.fields.get("origin").filter(|_| !self.face.origins.is_empty());
        let known =
            origin.and_then(|origin| self.face.origins.iter().position(|known| known.as_bytes() == origin));
        Manner {
            keeps: head.persistent && !self.is_draining,
            head_only: head.method == Method::Head,
            is_old: head.version == Version::Http10,
            origin: known.map_or(0, |index| index as u8 + 1),
        }
    }

    /// Whether a page of another origin asks for what could change something or opens a socket. Browsers say where a
    /// page is from and cannot be made to lie by it; programs that are no browsers say nothing.
    pub(crate) fn is_foreign(&self, head: &RequestHead<'_>, speech: Speech) -> bool {
        if head.method.is_safe() && speech != Speech::Socket {
            return false;
        }
        let Some(origin) = head.fields.get("origin").map(String::from_utf8_lossy) else { return false };
        let of_this_host = origin.split_once("://").is_some_and(|(_, host)| Some(host) == head.host);
        !of_this_host && !self.face.origins.iter().any(|known| **known == *origin)
    }
}
