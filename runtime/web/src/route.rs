//! Which request goes where: a table of methods and paths, each with what the system calls it. A path's part in
//! braces takes anything and is given to the system by its name: `/tasks/{id}`; a last part `{name..}` takes the
//! rest, slashes and all. Of several that match, the one listed first is taken.

use crate::query::{Plus, decoded};
use std::borrow::Cow;
use wire::http::Method;

/// Parts of a path that one route may name.
pub const PARAMETERS_MAX: usize = 4;

/// What becomes of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// It is brought whole, and may have so many bytes; over it the answer is 413. The price is that memory, for each
    /// connection that sends one.
    Whole(usize),
    /// It is brought in parts as it comes, and may have so many bytes.
    Parts(u64),
}

/// How a route is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Request and answer.
    Plain(BodyRule),
    /// A WebSocket.
    Socket,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route<R> {
    method: Method<'static>,
    path: &'static str,
    to: R,
    pub(crate) speech: Speech,
}

/// The body of a route that says nothing else: 64 KiB.
pub const BODY_MAX: usize = 64 * 1024;

impl<R> Route<R> {
    /// That method and path mean `to`. A GET is also asked by HEAD.
    #[must_use]
    pub const fn new(method: Method<'static>, path: &'static str, to: R) -> Self {
        Self { method, path, to, speech: Speech::Plain(BodyRule::Whole(BODY_MAX)) }
    }

    /// A route for GET and HEAD.
    #[must_use]
    pub const fn get(path: &'static str, to: R) -> Self {
        Self::new(Method::Get, path, to)
    }

    /// A route for POST.
    #[must_use]
    pub const fn post(path: &'static str, to: R) -> Self {
        Self::new(Method::Post, path, to)
    }

    /// A route for DELETE.
    #[must_use]
    pub const fn delete(path: &'static str, to: R) -> Self {
        Self::new(Method::Delete, path, to)
    }

    /// A route for WebSockets (GET with an upgrade). Anything else there is told so: 426.
    #[must_use]
    pub const fn socket(path: &'static str, to: R) -> Self {
        Self { method: Method::Get, path, to, speech: Speech::Socket }
    }

    /// The same with another rule for its body.
    #[must_use]
    pub fn body(mut self, rule: BodyRule) -> Self {
        self.speech = Speech::Plain(rule);
        self
    }
}

/// Whether `/tasks/` is `/tasks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slash {
    /// It is another path.
    #[default]
    Means,
    /// It is the same.
    Ignored,
}

/// The parts of a path that a route names, in the path as it was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters<'i> {
    found: [(&'static str, &'i str); PARAMETERS_MAX],
    count: usize,
}

impl<'i> Parameters<'i> {
    /// The part of that name, decoded; empty where the route names none so.
    #[must_use]
    pub fn get(&self, name: &str) -> Cow<'i, str> {
        let found = self.found[..self.count].iter().find(|(known, _)| *known == name);
        found.map_or(Cow::Borrowed(""), |(_, text)| decoded(text, Plus::Itself))
    }

    fn push(&mut self, name: &'static str, text: &'i str) {
        self.found[self.count] = (name, text);
        self.count += 1;
    }
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'t, 'i, R> {
    /// This.
    Route(&'t Route<R>, Parameters<'i>),
    /// There is such a path, for other methods.
    OtherMethods,
    /// There is none.
    Nothing,
}

/// All routes of a system.
#[derive(Clone, Debug)]
pub(crate) struct Routes<R> {
    all: Vec<Route<R>>,
    slash: Slash,
}

impl<R: Copy> Route<R> {
    pub(crate) fn to(&self) -> R {
        self.to
    }
}

impl<R: Copy> Routes<R> {
    pub(crate) fn new(all: Vec<Route<R>>, slash: Slash) -> Self {
        for route in &all {
            let named = route.path.split('/').filter(|part| name_of(part).is_some()).count();
            assert!(named <= PARAMETERS_MAX, "{} names more than {PARAMETERS_MAX} parts", route.path);
        }
        Self { all, slash }
    }

    pub(crate) fn find<'i>(&self, method: &Method<'_>, path: &'i str) -> Found<'_, 'i, R> {
        let mut is_known = false;
        for route in &self.all {
            if let Some(parameters) = matched(route.path, path, self.slash) {
                if route.takes(method) {
                    return Found::Route(route, parameters);
                }
                is_known = true;
            }
        }
        if is_known { Found::OtherMethods } else { Found::Nothing }
    }

    /// The methods of a path, as Allow lists them (RFC 9110, section 10.2.1).
    pub(crate) fn allowed(&self, path: &str) -> String {
        let mut methods: Vec<&str> = Vec::new();
        for route in self.all.iter().filter(|route| matched(route.path, path, self.slash).is_some()) {
            let with_head = if route.method == Method::Get { &["GET", "HEAD"][..] } else { &[] };
            for name in with_head.iter().copied().chain([route.method.as_str()]) {
                if !methods.contains(&name) {
                    methods.push(name);
                }
            }
        }
        methods.push("OPTIONS");
        methods.join(", ")
    }
}

impl<R> Route<R> {
    fn takes(&self, method: &Method<'_>) -> bool {
        self.method == *method || (self.method == Method::Get && *method == Method::Head)
    }
}

/// The name in `{name}` or `{name..}`.
fn name_of(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{').and_then(|part| part.strip_suffix('}'))
}

/// Whether a path is as the pattern says, with the parts it names.
fn matched<'i>(pattern: &'static str, path: &'i str, slash: Slash) -> Option<Parameters<'i>> {
    let path = match path.strip_suffix('/') {
        Some(bare) if slash == Slash::Ignored && !bare.is_empty() => bare,
        _ => path,
    };
    let mut parameters = Parameters::default();
    let mut rest = Some(path.strip_prefix('/')?);
    for part in pattern.strip_prefix('/')?.split('/') {
        let here = rest?;
        if let Some(name) = name_of(part).and_then(|name| name.strip_suffix("..")) {
            parameters.push(name, here);
            return Some(parameters);
        }
        let (text, after) = match here.split_once('/') {
            Some((text, after)) => (text, Some(after)),
            None => (here, None),
        };
        match name_of(part) {
            Some(_) if text.is_empty() => return None,
            Some(name) => parameters.push(name, text),
            None if part == text => {}
            None => return None,
        }
        rest = after;
    }
    rest.is_none().then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum To {
        Home,
        Tasks,
        New,
        Task,
        Cancel,
        Files,
        Live,
    }

    fn routes(slash: Slash) -> Routes<To> {
        Routes::new(
            vec![
                Route::get("/", To::Home),
                Route::get("/tasks", To::Tasks),
                Route::post("/tasks", To::New),
                Route::get("/tasks/{id}", To::Task),
                Route::post("/tasks/{id}/cancel", To::Cancel),
                Route::get("/files/{path..}", To::Files),
                Route::socket("/live", To::Live),
            ],
            slash,
        )
    }

    /// `to name=value`, `other methods`, or `nothing`.
    fn found(slash: Slash, method: &str, path: &str) -> String {
        match routes(slash).find(&Method::of(method), path) {
            Found::Route(route, parameters) => {
                let named = ["id", "path"].map(|name| parameters.get(name)).concat();
                format!("{:?} {named}", route.to()).trim_end().to_owned()
            }
            Found::OtherMethods => "other methods".to_owned(),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_request_goes_where_the_table_says() {
        #[track_caller]
        fn check(request: &str, expected: &str) {
            let (method, path) = request.split_once(' ').expect("a method and a path");
            assert_eq!(found(Slash::Means, method, path), expected, "{request}");
        }
        check("GET /", "Home");
        check("HEAD /", "Home");
        check("GET /tasks", "Tasks");
        check("POST /tasks", "New");
        check("DELETE /tasks", "other methods");
        check("GET /tasks/", "nothing");
        check("GET /tasks/7", "Task 7");
        check("GET /tasks/a%20b%2Fc", "Task a b/c");
        check("GET /tasks/7/", "nothing");
        check("POST /tasks/7/cancel", "Cancel 7");
        check("GET /tasks/7/cancel", "other methods");
        check("GET /files/a/b//c", "Files a/b//c");
        check("GET /files/", "Files");
        check("GET /files", "nothing");
        check("GET /live", "Live");
        check("GET //", "nothing");
        check("GET *", "nothing");
        check("GET /Tasks", "nothing");
        check("BREW /tasks", "other methods");
    }

    #[test]
    fn a_slash_at_the_end_may_be_ignored() {
        assert_eq!(found(Slash::Ignored, "GET", "/tasks/"), "Tasks");
        assert_eq!(found(Slash::Ignored, "GET", "/tasks/7/"), "Task 7");
        assert_eq!(found(Slash::Ignored, "GET", "/"), "Home");
        assert_eq!(found(Slash::Ignored, "GET", "/tasks//"), "nothing");
    }

    #[test]
    fn allow_lists_every_method_once() {
        let routes = routes(Slash::Means);
        assert_eq!(routes.allowed("/tasks"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(routes.allowed("/tasks/7/cancel"), "POST, OPTIONS");
        assert_eq!(routes.allowed("/live"), "GET, HEAD, OPTIONS");
    }
}
