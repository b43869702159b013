// Rows come made from the server, escaped there; this script puts them in their places when something has changed, and
// keeps open what people have opened.
"use strict";

(() => {
  const find = (id) => document.getElementById(id);

  const rows = (place, html) => {
    const body = find(place);
    if (!body || body.dataset.shown === html) return;
    const open = new Set([...body.querySelectorAll("details[open]")].map((each) => each.id));
    body.innerHTML = html;
    body.dataset.shown = html;
    for (const each of body.querySelectorAll("details")) each.open = open.has(each.id);
  };

  const heard = (news) => {
    rows("jobs", news.jobs);
    rows("nodes", news.nodes);
    kit.say("summary", news.summary);
  };

  if (find("jobs")) kit.live("/news", heard);

  const log = find("log");
  if (log) {
    log.textContent = "";
    const source = new EventSource("/logging");
    source.onopen = () => (log.textContent = "");
    source.onmessage = (event) => {
      const follows = window.innerHeight + window.scrollY >= document.body.scrollHeight - 40;
      log.append(`${event.data}\n`);
      if (follows) window.scrollTo(0, document.body.scrollHeight);
    };
  }
})();
