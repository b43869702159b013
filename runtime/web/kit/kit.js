// The page kit's one script: live values, tables, bars and lines for every page of every system. No build step, no
// library, nothing from the network but the page's own events. Text goes into pages as text, never as markup.
"use strict";

const kit = (() => {
  /** Colours in which things are told apart, by name in the stylesheet. */
  const COLOURS = ["--one", "--two", "--three", "--four", "--five", "--six"];

  const colour = (index) => `var(${COLOURS[index % COLOURS.length]})`;

  /** An element with attributes and children; a string child is text. */
  function element(name, attributes = {}, ...children) {
    const made = name.startsWith("svg:")
      ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== undefined && value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  /** Sets text only where it changed, so that a selection stays. */
  function say(place, text) {
    const found = typeof place === "string" ? document.getElementById(place) : place;
    if (found && found.textContent !== String(text)) found.textContent = text;
  }

  // ---- numbers as people read them

  function scaled(value, step, units) {
    if (!Number.isFinite(value)) return "–";
    let unit = 0;
    let rest = Math.abs(value);
    while (rest >= step && unit < units.length - 1) {
      rest /= step;
      unit += 1;
    }
    const digits = unit === 0 && Number.isInteger(value) ? 0 : rest < 10 ? 2 : rest < 100 ? 1 : 0;
    return `${value < 0 ? "-" : ""}${rest.toFixed(digits)}${units[unit]}`;
  }

  /** 1234567 → 1.23M */
  const number = (value) => scaled(value, 1000, ["", "k", "M", "G", "T"]);
  /** 1536 → 1.50 KiB */
  const bytes = (value) => scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
  /** Microseconds: 1500 → 1.50 ms */
  const micros = (value) => scaled(value, 1000, [" µs", " ms", " s"]);
  /** 0.123 → 12.3 % */
  const share = (value) => (Number.isFinite(value) ? `${(value * 100).toFixed(1)} %` : "–");
  /** 12345 → 12,345 */
  const whole = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–");

  /** How fast counters grow. `rate(name, value, at)`: a second's growth since it was last told; 0 at first. */
  function rates() {
    const before = new Map();
    return (name, value, at_ms) => {
      const last = before.get(name);
      before.set(name, { value, at_ms });
      if (!last || at_ms <= last.at_ms || value < last.value) return 0;
      return ((value - last.value) * 1000) / (at_ms - last.at_ms);
    };
  }

  // ---- live values

  const HELD_BACK_MS = 2000;

  /**
   * Listens to a stream of events while the page is seen, and not while it is hidden or paused: who does not look
   * costs the server nothing. `heard(value, kind)` gets each event's JSON. Comes back by itself.
   */
  function live(address, heard, kinds = []) {
    let source = null;
    let paused = false;
    const state = (name, text) => {
      for (const place of document.querySelectorAll("[data-kit=state]")) {
        place.dataset.state = name;
        say(place, text);
      }
    };
    const take = (event) => {
      state("live", "live");
      heard(JSON.parse(event.data), event.type);
    };
    function open() {
      if (source || paused || document.hidden) return;
      source = new EventSource(address);
      source.onmessage = take;
      for (const kind of kinds) source.addEventListener(kind, take);
      source.onerror = () => {
        state("lost", "no connection");
        if (source && source.readyState === EventSource.CLOSED) {
          close();
          setTimeout(open, HELD_BACK_MS);
        }
      };
    }
    function close() {
      if (source) source.close();
      source = null;
    }
    function settle() {
      if (paused || document.hidden) {
        close();
        state("paused", "paused");
      } else {
        open();
      }
    }
    function toggle() {
      paused = !paused;
      for (const button of document.querySelectorAll("[data-kit=pause]")) {
        say(button, paused ? "Go on" : "Pause");
        button.setAttribute("aria-pressed", String(paused));
      }
      settle();
    }
    document.addEventListener("visibilitychange", settle);
    window.addEventListener("pagehide", close);
    for (const button of document.querySelectorAll("[data-kit=pause]")) button.addEventListener("click", toggle);
    keys.set("p", toggle);
    open();
    return { toggle };
  }

  // ---- tables

  /**
   * A table that is told its rows again and again and changes only what changed. A column is
   * `{ name, of: (row) => value, show: (value) => text, number: bool }`; rows are told apart by `key(row)`. A click on
   * a heading, or Enter there, sorts by it.
   */
  function table(place, columns, key) {
    const body = element("tbody");
    const rows = new Map();
    let sort = { column: -1, descending: true };
    let known = [];
    const heads = columns.map((column, index) => {
      const button = element("button", { type: "button", onclick: () => by(index) }, column.name);
      return element("th", { scope: "col", class: column.number ? "number" : null }, button);
    });
    place.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body));
    function by(index) {
      sort = { column: index, descending: sort.column === index ? !sort.descending : Boolean(columns[index].number) };
      heads.forEach((head, at) => {
        if (at === index) head.setAttribute("aria-sort", sort.descending ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      tell(known);
    }
    function ordered(all) {
      if (sort.column < 0) return all;
      const of = columns[sort.column].of;
      const sign = sort.descending ? -1 : 1;
      const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
      return [...all].sort((one, other) => sign * compare(of(one), of(other)));
    }
    function tell(all) {
      known = all;
      const seen = new Set();
      let before = null;
      for (const row of ordered(all)) {
        const name = String(key(row));
        seen.add(name);
        let made = rows.get(name);
        if (!made) {
          made = element("tr", {}, ...columns.map((column) => element("td", { class: column.number ? "number" : null })));
          rows.set(name, made);
        }
        columns.forEach((column, index) => {
          const value = column.of(row);
          say(made.children[index], column.show ? column.show(value) : value);
        });
        const next = before ? before.nextSibling : body.firstChild;
        if (next !== made) body.insertBefore(made, next);
        before = made;
      }
      for (const [name, made] of rows) {
        if (!seen.has(name)) {
          made.remove();
          rows.delete(name);
        }
      }
    }
    return { tell };
  }

  // ---- bars

  /** Bars: `tell([{ name, value, figure }], { most, even })`; `even` is where a line stands, as a value. */
  function bars(place) {
    place.classList.add("bars");
    const rows = new Map();
    function tell(all, { most, even } = {}) {
      const top = most || Math.max(1e-9, ...all.map((row) => row.value), even || 0);
      const part = (value) => `${Math.min(100, (100 * value) / top)}%`;
      all.forEach((row, index) => {
        let made = rows.get(row.name);
        if (!made) {
          made = {
            fill: element("div", { class: "fill" }),
            even: element("div", { class: "even", hidden: "" }),
            figure: element("span", { class: "figure" }),
          };
          made.fill.style.background = colour(index);
          const track = element("div", { class: "track" }, made.fill, made.even);
          made.row = element("div", { class: "row" }, element("span", {}, row.name), track, made.figure);
          rows.set(row.name, made);
          place.append(made.row);
        }
        made.fill.style.width = part(row.value);
        made.even.hidden = even === undefined;
        if (even !== undefined) made.even.style.left = part(even);
        say(made.figure, row.figure);
      });
      for (const [name, made] of rows) {
        if (!all.some((row) => row.name === name)) {
          made.row.remove();
          rows.delete(name);
        }
      }
    }
    return { tell };
  }

  // ---- lines over time

  /**
   * Lines over time: `push(at_ms, { name: value })`. Keeps the last `span_ms`. With `spark` it is one small line
   * without axes.
   */
  function lines(place, { span_ms = 120000, show = number, spark = false, label = "" } = {}) {
    const [width, height] = spark ? [160, 28] : [800, 180];
    const [left, bottom] = spark ? [0, 2] : [56, 20];
    const picture = element("svg:svg", {
      class: spark ? "spark" : "lines",
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    });
    const key = element("div", { class: "key" });
    place.append(picture);
    if (!spark) place.append(key);
    const points = [];
    const drawn = new Map();
    const grid = spark ? [] : [0, 0.5, 1].map(() => {
      const line = element("svg:line", { stroke: "var(--edge)", "vector-effect": "non-scaling-stroke" });
      picture.append(line);
      return line;
    });
    const figures = spark ? [] : [0, 0.5, 1].map((at) => {
      const text = element("span", { class: "quiet" });
      text.style.cssText = `position:absolute;left:0;font-size:12px;transform:translateY(-50%);top:${(1 - at) * 100}%`;
      return text;
    });
    if (!spark) {
      place.style.position = "relative";
      const scale = element("div", { "aria-hidden": "true" }, ...figures);
      scale.style.cssText = `position:absolute;left:0;top:8px;height:${height - bottom - 8}px;width:${left}px`;
      place.append(scale);
    }
    function draw(now) {
      const names = [...new Set(points.flatMap((point) => Object.keys(point.values)))];
      const top = nice(Math.max(1e-9, ...points.flatMap((point) => Object.values(point.values))));
      const x = (at) => left + ((width - left) * (at - (now - span_ms))) / span_ms;
      const y = (value) => height - bottom - ((height - bottom - (spark ? 2 : 8)) * value) / top;
      grid.forEach((line, index) => {
        const at = y(top * [0, 0.5, 1][index]);
        line.setAttribute("x1", left);
        line.setAttribute("x2", width);
        line.setAttribute("y1", at);
        line.setAttribute("y2", at);
      });
      figures.forEach((text, index) => say(text, show(top * [0, 0.5, 1][index])));
      names.forEach((name, index) => {
        let line = drawn.get(name);
        if (!line) {
          line = element("svg:polyline", {
            fill: "none",
            "stroke-width": spark ? 1.5 : 2,
            "vector-effect": "non-scaling-stroke",
            "stroke-linejoin": "round",
          });
          line.style.stroke = colour(index);
          drawn.set(name, line);
          picture.append(line);
          const square = element("i", {});
          square.style.background = colour(index);
          key.append(element("span", {}, square, name));
        }
        const path = points.filter((point) => name in point.values);
        line.setAttribute("points", path.map((point) => `${x(point.at).toFixed(1)},${y(point.values[name]).toFixed(1)}`).join(" "));
      });
    }
    function push(at, values) {
      points.push({ at, values });
      while (points.length && points[0].at < at - span_ms) points.shift();
      draw(at);
    }
    return { push };
  }

  /** The next number that is 1, 2 or 5 times a power of ten. */
  function nice(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    const found = [1, 2, 5, 10].find((step) => step * power >= value);
    return found * power;
  }

  // ---- asking the server

  /** Sends JSON and gives JSON; a refusal is an error with the server's own words. */
  async function ask(method, address, body) {
    const answer = await fetch(address, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    let value = text;
    try {
      value = JSON.parse(text);
    } catch {
      // Not JSON: the text itself is the answer.
    }
    if (!answer.ok) throw new Error(value.message || value.detail || text || answer.statusText);
    return value;
  }

  // ---- keyboard and theme

  const keys = new Map();
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys.get(event.key);
    if (act) {
      event.preventDefault();
      act();
    }
  });

  function remembered() {
    try {
      return localStorage.getItem("kit-theme");
    } catch {
      return null;
    }
  }

  function theme(name) {
    document.documentElement.dataset.theme = name;
    try {
      localStorage.setItem("kit-theme", name);
    } catch {
      // A browser that keeps nothing still shows it.
    }
  }

  function other_theme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
    theme(now === "dark" ? "light" : "dark");
  }

  const before = remembered();
  if (before === "dark" || before === "light") document.documentElement.dataset.theme = before;
  keys.set("t", other_theme);
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-kit=theme]")) button.addEventListener("click", other_theme);
  });

  return { element, say, number, bytes, micros, share, whole, rates, live, table, bars, lines, ask, keys, colour };
})();
