// The page of a network: what is told is kept in a log, and what is drawn is the state at one moment of that log. Live
// is the last moment; scrubbing is any other.
"use strict";

(() => {
  /** News that are kept; the oldest become part of where the log begins. */
  const LOG_MAX = 12000;
  /** A copy of the state is kept every so many news, so that scrubbing need not begin at the beginning. */
  const COPY_EVERY = 200;
  const DOTS_MAX = 700;
  const DOT_MS = 520;
  const SPREAD_MS = 900;
  const LINES_SHOWN = 200;
  const MARGIN = 26;
  const SIDE = 44;

  const $ = (id) => document.getElementById(id);
  const { element, say } = kit;

  let net = null;
  let base = null;
  let log = [];
  let copies = [];
  let view = null;
  let moment = null;
  let chosen = null;
  let playing = 0;
  let drawn = null;
  const dots = [];

  // ---- the state at a moment

  const copied = (state) => ({
    load: state.load.slice(), alive: state.alive.slice(), cpu: state.cpu.slice(), ports: state.ports.slice(),
    names: state.names.slice(), links: state.links.map((link) => link.slice()), reports: state.reports.slice(),
    over: state.over, broken: state.broken,
  });

  function begin(told) {
    return {
      load: told.units.map((unit) => unit[3]), alive: told.units.map((unit) => unit[4]),
      cpu: told.units.map((unit) => unit[2]), ports: told.units.map((unit) => unit[1]),
      names: told.units.map((unit) => unit[0]), links: told.links.map((link) => link.slice()),
      reports: told.reports.slice(), over: told.reports.length, broken: told.reports.filter(is_broken).length,
    };
  }

  const PROPERTIES = ["termination", "decision", "dependence", "bound"];
  const is_broken = (report) => PROPERTIES.some((name) => report[name] === "broken");

  function apply(state, news) {
    if (news.sync) Object.assign(state, copied(news.sync));
    for (const [unit, tasks] of news.loads || []) state.load[unit] = tasks;
    for (const note of news.notes || []) {
      const link = (a, b) => state.links.find((each) => (each[0] === a && each[1] === b) || (each[0] === b && each[1] === a));
      if (note.what === "kill") { state.alive[note.unit] = 0; state.load[note.unit] = 0; }
      if (note.what === "revive") state.alive[note.unit] = 1;
      if (note.what === "cut" && link(note.a, note.b)) link(note.a, note.b)[2] = 1;
      if (note.what === "heal" && link(note.a, note.b)) link(note.a, note.b)[2] = 0;
      if (note.what === "add") {
        const unit = state.load.length;
        state.load.push(0); state.alive.push(1); state.cpu.push(note.cpu);
        state.ports.push(note.port); state.names.push(note.name);
        for (const other of note.linked_to) state.links.push([other, unit, 0]);
      }
      if (note.what === "report") {
        state.reports.push(note.report);
        if (state.reports.length > 64) state.reports.shift();
        state.over += 1;
        state.broken += is_broken(note.report) ? 1 : 0;
      }
    }
  }

  function state_at(count) {
    let at = 0;
    let state = base;
    for (const copy of copies) if (copy.count <= count && copy.count >= at) [at, state] = [copy.count, copy.state];
    const made = copied(state);
    for (let index = at; index < count; index += 1) apply(made, log[index]);
    return made;
  }

  /** After a hello, news are kept back until the state has come that they belong to. */
  let early = null;
  async function heard(news) {
    if (!net) return;
    if (news.hello) {
      early = early || [];
      const told = await kit.ask("GET", "/state");
      const later = early || [];
      early = null;
      take({ at_us: told.at_us, sync: begin(told) });
      later.filter((each) => each.at_us > told.at_us).forEach(take);
    } else if (early) early.push(news);
    else take(news);
  }

  function take(news) {
    log.push(news);
    if (log.length % COPY_EVERY === 0) copies.push({ count: log.length, state: state_at(log.length) });
    if (log.length > LOG_MAX) {
      const gone = COPY_EVERY;
      base = state_at(gone);
      log = log.slice(gone);
      copies = copies.map((copy) => ({ count: copy.count - gone, state: copy.state })).filter((copy) => copy.count > 0);
      if (moment !== null) moment = Math.max(0, moment - gone);
    }
    if (moment === null) {
      apply(view, news);
      animate(news);
      show();
      plot.push(news.at_us / 1000, { discrepancy: discrepancy(view) });
    }
    tell_time();
    note(news);
  }

  function discrepancy(state) {
    let [least, most] = [Infinity, 0];
    state.load.forEach((tasks, unit) => {
      if (!state.alive[unit]) return;
      const height = tasks / state.cpu[unit];
      least = Math.min(least, height);
      most = Math.max(most, height);
    });
    return Number.isFinite(least) ? most - least : 0;
  }

  // ---- drawing

  const box = $("net");
  const picture = element("svg:svg", { role: "img", "aria-labelledby": "net-title" });
  const canvas = element("canvas");
  box.append(picture, canvas);
  const pen = canvas.getContext("2d");

  /** Height as colour: nothing is pale, a task for each processor is amber, twice that is red. */
  function colour(height, alive) {
    if (!alive) return null;
    const part = Math.min(1, height / 2);
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const hue = 205 - 205 * Math.min(1, part * 1.15);
    const light = dark ? 38 + 22 * part : 72 - 22 * part;
    return `hsl(${hue} ${40 + 45 * part}% ${light}%)`;
  }

  function lay_out() {
    const count = view.load.length;
    const gathered = layout.gather(count, view.links);
    const places = layout.places(gathered.count, gathered.links, net.label);
    const members = Array.from({ length: gathered.count }, () => []);
    gathered.of.forEach((cluster, unit) => members[cluster].push(unit));
    drawn = { of: gathered.of, members, places, alone: gathered.count === count, links: new Map(), units: [], names: [] };
    const lines = element("svg:g");
    const circles = element("svg:g");
    // Many links together would hide the units.
    lines.style.opacity = Math.max(0.06, Math.min(1, 900 / Math.max(1, gathered.links.length)));
    gathered.links.forEach((link) => {
      const [a, b] = link;
      const line = element("svg:line", { class: "link" });
      lines.append(line);
      drawn.links.set(`${Math.min(a, b)} ${Math.max(a, b)}`, line);
      if (drawn.alone && gathered.links.length < 4000) {
        const hit = element("svg:line", { class: "link hit", onclick: () => choose({ link: [a, b] }) });
        lines.append(hit);
        line.hit = hit;
      }
      [line.a, line.b] = [a, b];
    });
    places.forEach((_, cluster) => {
      const title = element("svg:title");
      const circle = element("svg:circle", { class: "unit", onclick: () => choose({ unit: members[cluster][0] }) }, title);
      circle.title = title;
      circles.append(circle);
      drawn.units.push(circle);
      if (gathered.count <= 40) {
        const name = element("svg:text", { class: "name" });
        circles.append(name);
        drawn.names.push(name);
      }
    });
    picture.replaceChildren(lines, circles);
    place();
  }

  function place() {
    if (!drawn) return;
    const { width, height } = box.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawn.at = drawn.places.map(([x, y]) => [SIDE + x * (width - 2 * SIDE), MARGIN + y * (height - 2 * MARGIN - 12)]);
    const radius = Math.max(3, Math.min(15, Math.sqrt((width * height) / drawn.places.length) / 5));
    for (const line of drawn.links.values()) {
      for (const each of [line, line.hit]) {
        if (!each) continue;
        each.setAttribute("x1", drawn.at[line.a][0]);
        each.setAttribute("y1", drawn.at[line.a][1]);
        each.setAttribute("x2", drawn.at[line.b][0]);
        each.setAttribute("y2", drawn.at[line.b][1]);
      }
    }
    drawn.units.forEach((circle, cluster) => {
      const size = drawn.alone ? 1 : Math.sqrt(drawn.members[cluster].length / (drawn.of.length / drawn.members.length));
      circle.setAttribute("cx", drawn.at[cluster][0]);
      circle.setAttribute("cy", drawn.at[cluster][1]);
      circle.setAttribute("r", Math.max(2.5, radius * Math.min(1.8, Math.max(0.6, size))));
      const name = drawn.names[cluster];
      if (name) {
        name.setAttribute("x", drawn.at[cluster][0]);
        name.setAttribute("y", drawn.at[cluster][1] + radius + 13);
      }
    });
  }

  function show() {
    if (!drawn || drawn.of.length !== view.load.length) lay_out();
    const root = view.alive.indexOf(1);
    drawn.units.forEach((circle, cluster) => {
      const members = drawn.members[cluster];
      const living = members.filter((unit) => view.alive[unit]);
      const tasks = living.reduce((sum, unit) => sum + view.load[unit], 0);
      const cpus = living.reduce((sum, unit) => sum + view.cpu[unit], 0);
      const fill = colour(cpus ? tasks / cpus : 0, living.length > 0);
      if (circle.fill_now !== fill) {
        circle.fill_now = fill;
        circle.style.fill = fill || "";
      }
      const of = members[0];
      const marks = ["unit", living.length ? "" : "dead", drawn.alone && of === root ? "root" : "",
        chosen && chosen.unit !== undefined && drawn.of[chosen.unit] === cluster ? "chosen" : ""].filter(Boolean).join(" ");
      if (circle.marks !== marks) {
        circle.marks = marks;
        circle.setAttribute("class", marks);
      }
      const text = drawn.alone
        ? `${view.names[of]}, port ${view.ports[of]}: ${view.load[of]} tasks, ${view.cpu[of]} processors`
        : `${members.length} units near ${view.names[of]}: ${tasks} tasks, ${cpus} processors`;
      say(circle.title, text);
      if (drawn.names[cluster]) say(drawn.names[cluster], `${view.names[of]} ${view.load[of]}/${view.cpu[of]}`);
    });
    if (drawn.alone) {
      for (const [a, b, cut] of view.links) {
        const line = drawn.links.get(`${Math.min(a, b)} ${Math.max(a, b)}`);
        if (!line) continue;
        const is_chosen = chosen && chosen.link && chosen.link[0] === line.a && chosen.link[1] === line.b;
        const marks = `link${cut ? " cut" : ""}${is_chosen ? " chosen" : ""}`;
        if (line.marks !== marks) {
          line.marks = marks;
          line.setAttribute("class", marks);
        }
      }
    }
    buttons();
    figures();
  }

  function figures() {
    const last = view.reports[view.reports.length - 1];
    const tasks = view.load.reduce((sum, each) => sum + each, 0);
    const cpus = view.cpu.reduce((sum, each, unit) => sum + (view.alive[unit] ? each : 0), 0);
    const living = view.alive.filter(Boolean).length;
    say("over", kit.whole(view.over));
    say("over-more", last ? `the last took ${last.took_us === null ? "–" : kit.micros(last.took_us)}` : "none yet");
    say("tasks", kit.whole(tasks));
    say("tasks-more", `${kit.whole(living)} units, ${kit.whole(cpus)} processors`);
    say("discrepancy", discrepancy(view).toFixed(2));
    say("messages", last ? kit.whole(last.messages) : "–");
    const sign = last && last.algorithm === "Echo" && last.missing_count === 0 ? "exactly" : "at most";
    say("messages-more", last ? `${sign} ${kit.whole(last.most)} (${last.algorithm}, ${kit.whole(last.links)} links)` : "");
    say("verdict", view.broken ? `${kit.whole(view.broken)} broken` : last ? "none broken" : "–");
    $("verdict").className = `value ${view.broken ? "bad" : "good"}`;
    say("verdict-more", last && last.missing_count ? `the last misses ${last.missing_count}` : PROPERTIES.join(", "));
    waves.tell(view.reports.slice(-24).reverse());
  }

  // ---- waves on their way

  const KINDS = { out: "--one", back: "--two", sets: "--four", late: "--bad" };

  function animate(news) {
    const wrote = news.wrote || [];
    const start = performance.now();
    const every = Math.max(1, Math.ceil(wrote.length / Math.max(1, DOTS_MAX - dots.length)));
    for (let index = 0; index < wrote.length; index += every) {
      const [, from, to, kind] = wrote[index];
      const [a, b] = [drawn.of[from], drawn.of[to]];
      if (a === undefined || b === undefined || a === b || !KINDS[kind]) continue;
      dots.push({ a, b, colour: KINDS[kind], at: start + (SPREAD_MS * index) / wrote.length, size: 3 });
    }
    for (const [from, to] of (news.moves || []).slice(0, 100)) {
      const [a, b] = [drawn.of[from], drawn.of[to]];
      if (a !== undefined && b !== undefined && a !== b) dots.push({ a, b, colour: "--three", at: start, size: 5 });
    }
    if (dots.length) requestAnimationFrame(frame);
  }

  /** A colour of the kit as a canvas takes it: not by its name, and not as one of two. */
  function resolved(name) {
    box.style.color = `var(${name})`;
    const { color } = getComputedStyle(box);
    box.style.color = "";
    return color;
  }

  let is_framed = false;
  function frame(now) {
    if (is_framed) return;
    is_framed = true;
    const { width, height } = box.getBoundingClientRect();
    pen.clearRect(0, 0, width, height);
    const colours = new Map();
    for (let index = dots.length - 1; index >= 0; index -= 1) {
      const dot = dots[index];
      const part = (now - dot.at) / DOT_MS;
      if (part >= 1 || !drawn.at[dot.a] || !drawn.at[dot.b]) {
        dots.splice(index, 1);
        continue;
      }
      if (part < 0) continue;
      const [from, to] = [drawn.at[dot.a], drawn.at[dot.b]];
      if (!colours.has(dot.colour)) colours.set(dot.colour, resolved(dot.colour));
      pen.fillStyle = colours.get(dot.colour);
      pen.beginPath();
      pen.arc(from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part, dot.size, 0, 7);
      pen.fill();
    }
    is_framed = false;
    if (dots.length) requestAnimationFrame(frame);
  }

  // ---- lists

  const waves = kit.table($("waves"), [
    { name: "wave", of: (report) => report.wave },
    { name: "algorithm", of: (report) => (report.algorithm === "Directed" ? "Finn one way (no wave)" : report.algorithm) },
    { name: "for", of: (report) => report.purpose.toLowerCase() },
    { name: "units", of: (report) => report.units, show: kit.whole, number: true },
    { name: "of", of: (report) => report.of, show: kit.whole, number: true },
    { name: "messages", of: (report) => report.messages, show: kit.whole, number: true },
    { name: "most", of: (report) => report.most, show: kit.whole, number: true },
    { name: "a channel", of: (report) => report.channel_max, show: kit.whole, number: true },
    { name: "took", of: (report) => report.took_us, show: (us) => (us === null ? "–" : kit.micros(us)), number: true },
    ...PROPERTIES.map((name) => ({ name, of: (report) => report[name] })),
    { name: "missing", of: (report) => report.missing_count, show: (count) => count || "", number: true },
  ], (report) => report.wave);
  const plot = kit.lines($("plot"), { label: "Discrepancy over time", show: (value) => value.toFixed(1) });

  const SAID = {
    kill: (note) => `${name_of(note.unit)} died`,
    revive: (note) => `${name_of(note.unit)} is back`,
    cut: (note) => `the link from ${name_of(note.a)} to ${name_of(note.b)} was cut`,
    heal: (note) => `the link from ${name_of(note.a)} to ${name_of(note.b)} was healed`,
    add: (note) => `${note.name} was added`,
    gave_up: (note) => `wave ${note.wave}: ${name_of(note.by)} gave up ${name_of(note.unit)} (${note.why})`,
    report: ({ report }) => `wave ${report.wave} (${report.algorithm}): ${report.messages} messages, ${report.units} of ${report.of} units`
      + (report.missing_count ? `, ${report.missing_count} missing` : ""),
  };
  const name_of = (unit) => (view && view.names[unit]) || `unit ${unit}`;

  function note(news) {
    for (const each of news.notes || []) {
      if (!SAID[each.what]) continue;
      $("log").prepend(element("li", {}, SAID[each.what](each)));
    }
    if ((news.moves || []).length) $("log").prepend(element("li", {}, `${news.moves.length + news.moves_more} tasks moved`));
    while ($("log").children.length > LINES_SHOWN) $("log").lastChild.remove();
  }

  // ---- time

  function tell_time() {
    const at = moment === null ? log.length : moment;
    $("scrub").max = String(Math.max(1, log.length));
    if (moment === null) $("scrub").value = $("scrub").max;
    const last = log.length ? log[log.length - 1].at_us : net.at_us;
    const here = at > 0 && log[at - 1] ? log[at - 1].at_us : net.at_us;
    say("when", moment === null ? `live, ${log.length} events` : `${((here - last) / 1e6).toFixed(1)} s`);
    $("live").setAttribute("aria-pressed", String(moment === null));
  }

  function go(to) {
    moment = to;
    view = state_at(to === null ? log.length : to);
    if (to !== null && to > 0 && log[to - 1]) animate(log[to - 1]);
    show();
    tell_time();
    remember();
  }

  $("scrub").addEventListener("input", () => { stop(); go(Math.min(Number($("scrub").value), log.length)); });
  $("live").addEventListener("click", () => { stop(); go(null); });
  function stop() {
    clearInterval(playing);
    playing = 0;
    say("play", "▶");
  }
  $("play").addEventListener("click", () => {
    if (playing) return stop();
    say("play", "❚❚");
    if (moment === null) go(0);
    playing = setInterval(() => {
      if (moment === null || moment >= log.length) {
        stop();
        go(null);
      } else go(moment + 1);
    }, 100);
  });

  // ---- what can be done

  async function act(address) {
    try {
      const answer = await kit.ask("POST", address);
      if (answer.status === "error") throw new Error("the network says no");
      $("trouble").hidden = true;
    } catch (error) {
      $("trouble").hidden = false;
      say("trouble", error.message);
    }
  }

  const port = (unit) => view.ports[unit];
  const at_unit = () => (chosen && chosen.unit !== undefined && view.alive[chosen.unit] ? `&unit=${port(chosen.unit)}` : "");
  for (const button of document.querySelectorAll("[data-act]")) {
    button.addEventListener("click", () => act(button.dataset.act + at_unit()));
  }
  kit.keys.set("e", () => act(`/waves?algorithm=echo&purpose=status${at_unit()}`));
  kit.keys.set("f", () => act(`/waves?algorithm=finn&purpose=tasks${at_unit()}`));
  kit.keys.set("b", () => act("/waves?algorithm=echo&purpose=rebalance"));
  kit.keys.set("a", () => act(`/tasks?count=10${at_unit()}`));
  kit.keys.set("Escape", () => choose(null));
  $("tasks-10").addEventListener("click", () => act(`/tasks?count=10${at_unit()}`));
  $("tasks-200").addEventListener("click", () => act(`/tasks?count=200${at_unit()}`));
  $("kill").addEventListener("click", () => act(`/${view.alive[chosen.unit] ? "kill" : "revive"}?unit=${port(chosen.unit)}`));
  $("cut").addEventListener("click", () => {
    const [a, b] = chosen.link;
    act(`/${is_cut(chosen.link) ? "heal" : "cut"}?a=${port(a)}&b=${port(b)}`);
  });
  $("add").addEventListener("click", () => act(`/units?cpu=4${chosen && chosen.unit !== undefined ? `&links=${port(chosen.unit)}` : ""}`));
  $("pick").addEventListener("change", () => {
    const unit = view.ports.indexOf(Number($("pick").value));
    choose(unit < 0 ? null : { unit });
  });
  const is_cut = ([a, b]) => view.links.some((link) => link[0] === a && link[1] === b && link[2]);

  function choose(what) {
    chosen = what;
    const has_unit = Boolean(what && what.unit !== undefined);
    const has_link = Boolean(what && what.link);
    const text = has_unit ? `${name_of(what.unit)}, port ${port(what.unit)}`
      : has_link ? `${name_of(what.link[0])} – ${name_of(what.link[1])}` : "click a unit or a link to select it";
    say("chosen", text);
    if (has_unit) $("pick").value = port(what.unit);
    show();
    remember();
  }

  /** What can be done to what is selected. */
  function buttons() {
    const what = chosen;
    const has_unit = Boolean(what && what.unit !== undefined);
    const has_link = Boolean(what && what.link);
    $("kill").disabled = !has_unit;
    $("cut").disabled = !has_link;
    say("kill", has_unit && !view.alive[what.unit] ? "Revive unit" : "Kill unit");
    say("cut", has_link && is_cut(what.link) ? "Heal link" : "Cut link");
  }

  // ---- the address

  function remember() {
    const address = new URLSearchParams(net.label);
    if (chosen && chosen.unit !== undefined) address.set("unit", port(chosen.unit));
    if (moment !== null) address.set("at", moment);
    history.replaceState(null, "", `?${address}`);
  }

  function recall() {
    const wanted = new URLSearchParams(location.search);
    const here = new URLSearchParams(net.label);
    const other = ["family", "units", "seed", "topology"].filter((key) => wanted.has(key) && wanted.get(key) !== here.get(key));
    if (other.length) {
      $("trouble").hidden = false;
      const words = ["family", "units", "seed", "cpu"].filter((key) => wanted.has(key)).map((key) => `--${key} ${wanted.get(key)}`);
      say("trouble", `This address is of another network. It is seen by: waves up ${words.join(" ")}`);
    }
    const unit = view.ports.indexOf(Number(wanted.get("unit")));
    if (unit >= 0) choose({ unit });
  }

  async function start() {
    net = await kit.ask("GET", "/state");
    base = begin(net);
    view = copied(base);
    say("label", `${net.label || "a network"} · ${kit.whole(net.units.length)} units, ${kit.whole(net.links.length)} links on ${net.cores} cores · balancer ${net.balancer || "none"}`);
    const ramp = element("span", { class: "ramp" });
    ramp.style.background = `linear-gradient(90deg, ${[0, 0.5, 1, 1.5, 2].map((height) => colour(height, true)).join(",")})`;
    const key = (variable, text) => {
      const square = element("i");
      square.style.background = `var(${variable})`;
      return element("span", {}, square, text);
    };
    $("key").replaceChildren(element("span", {}, "idle", ramp, "two tasks a processor"),
      key("--one", "out"), key("--two", "back"), key("--four", "sets"), key("--three", "a task moves"));
    show();
    plot.push(net.at_us / 1000, { discrepancy: discrepancy(view) });
    tell_time();
    recall();
    kit.live("/events", heard);
  }

  new ResizeObserver(place).observe(box);
  start().catch((error) => {
    $("trouble").hidden = false;
    say("trouble", error.message);
  });
})();
