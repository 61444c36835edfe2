"use strict";
// Brings a page up to date while it is open, and gives it keys. Pages are complete without it.
(() => {
  const FRESH_MS = 20000, SLOW_MS = 10000, HIDDEN_MS = 5000, WAIT_MS = 1000, MOST_WAIT_MS = 15000, RETIRED_MS = 60000;
  // A page that took long is asked for less often: it has at most a tenth of the time.
  const PAUSE_MS = 100, MOST_PAUSE_MS = 2000, PAUSES = 9;
  const ELEMENTS = new Set("A B CODE DIV FORM H1 H2 INPUT LABEL LI MAIN NAV OL P SECTION SPAN TABLE TBODY TD TH THEAD TIME TR UL CAPTION".split(" "));
  const ATTRIBUTES = new Set("id class href action method name type maxlength scope role tabindex datetime start value aria-hidden aria-label aria-live data-seq".split(" "));
  const $ = (id) => document.getElementById(id);
  let failed = "", stream = null, heard = Date.now(), wait = WAIT_MS, hiding = 0, busy = false, again = false, last = Date.now();

  // Only our own elements and attributes are taken over, whatever a page holds.
  const isOurs = (node) => node.nodeType === Node.TEXT_NODE || (node.nodeType === Node.ELEMENT_NODE && ELEMENTS.has(node.nodeName));
  const copy = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
    const made = document.createElement(node.nodeName);
    setAttributes(made, node);
    for (const child of node.childNodes) if (isOurs(child)) made.appendChild(copy(child));
    return made;
  };
  const isSafe = (name, value) => ATTRIBUTES.has(name) && (!/^(href|action)$/.test(name) || /^(\/(?!\/)|[#?])/.test(value));
  const setAttributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) {
      if (isSafe(name, value) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };
  // Elements with the same id stay the same, so that the focus and the place of the reader stay, too.
  const morph = (old, fresh) => {
    setAttributes(old, fresh);
    const known = new Map();
    for (const child of old.children) if (child.id) known.set(child.id, child);
    let place = old.firstChild;
    for (const child of fresh.childNodes) {
      if (!isOurs(child)) continue;
      let match = child.id ? known.get(child.id) : null;
      if (!match && place && !place.id && !child.id && place.nodeName === child.nodeName) match = place;
      if (!match || match.nodeName !== child.nodeName) {
        old.insertBefore(copy(child), place);
        continue;
      }
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      if (child.nodeType === Node.TEXT_NODE) { if (match.data !== child.data) match.data = child.data; }
      else if (!match.isEqualNode(child)) morph(match, child);
    }
    while (place) { const next = place.nextSibling; place.remove(); place = next; }
  };

  // The browser parses the page into a document of its own, where nothing runs.
  const refresh = () => {
    if (busy) { again = true; return; }
    busy = true;
    const begun = Date.now();
    const request = new XMLHttpRequest();
    request.open("GET", location.pathname + location.search);
    request.setRequestHeader("Accept", "text/html");
    request.setRequestHeader("X-Rollcall-Refresh", "1");
    request.responseType = "document";
    request.timeout = FRESH_MS;
    request.onload = () => {
      const fresh = request.response;
      if (request.status === 200 && fresh && fresh.getElementById("main")) {
        requestAnimationFrame(() => {
          morph($("main"), fresh.getElementById("main"));
          document.title = fresh.title;
          $("live").dataset.seq = fresh.getElementById("live").dataset.seq;
          failed = "";
          heardNow();
        });
        return;
      }
      const said = fresh && fresh.querySelector("main p");
      fail(request.status === 401 ? "not let in any more; run: ssh rollcall web" : said ? said.textContent : `status ${request.status}`);
    };
    request.ontimeout = () => fail("rollcall did not answer in time");
    request.onerror = () => fail("is the tunnel open? ssh rollcall web");
    request.onloadend = () => {
      const pause = Math.min(MOST_PAUSE_MS, Math.max(PAUSE_MS, PAUSES * (Date.now() - begun)));
      setTimeout(() => { busy = false; if (again) { again = false; refresh(); } }, pause);
    };
    request.send();
  };
  const isPast = () => new URLSearchParams(location.search).has("at");
  // Only a page that was taken over is fresh: a heartbeat proves the tunnel alone.
  const fail = (why) => { failed = why; show(); };
  const heardNow = () => { heard = Date.now(); show(); };
  const show = () => {
    const live = $("live");
    if (!live || isPast()) return;
    const age = Math.round((Date.now() - heard) / 1000);
    const why = failed || (age * 1000 > FRESH_MS ? "is the tunnel open? ssh rollcall web" : "");
    live.className = why ? "stale" : "";
    const text = why ? `STALE for ${age} s: ${why}` : `live, event ${live.dataset.seq}`;
    if (live.textContent !== text) live.textContent = text;
  };

  const connect = () => {
    if (stream || document.hidden || isPast() || !$("live")) return;
    stream = new EventSource(`/live?after=${$("live").dataset.seq}`);
    stream.addEventListener("open", () => { wait = WAIT_MS; });
    stream.addEventListener("change", () => refresh());
    stream.addEventListener("beat", () => { if (!failed) heardNow(); });
    // More pages of this connection follow than it has room for: this one asks again from time to time.
    stream.addEventListener("retire", () => { disconnect(); setTimeout(connect, RETIRED_MS); });
    stream.addEventListener("error", () => {
      disconnect();
      setTimeout(connect, wait + Math.random() * 1000);
      wait = Math.min(wait * 2, MOST_WAIT_MS);
    });
  };
  const disconnect = () => { if (stream) stream.close(); stream = null; };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(disconnect, HIDDEN_MS);
    else { refresh(); connect(); }
  });
  setInterval(() => { if (!document.hidden && !isPast()) refresh(); }, SLOW_MS);
  setInterval(() => {
    // Timers of hidden pages are slow, and hidden pages follow nothing.
    if (document.hidden) { last = Date.now(); return; }
    // After a sleep of the machine nothing is known.
    if (Date.now() - last > 5000) { disconnect(); connect(); refresh(); }
    last = Date.now();
    show();
  }, 1000);

  // Keys. `K` turns them off, for those who speak to their browser (WCAG 2.1.4).
  const HELP = "? help   j k row   Enter open   Backspace up   n p problem   y copy the line for a terminal   1-5 pages   K keys on or off";
  const rows = () => [...document.querySelectorAll("main tbody th a, ul.head a")];
  const problems = () => [...document.querySelectorAll("main tbody tr, ul.head li")].filter((row) => row.querySelector(".bad, .held, .warn")).map((row) => row.querySelector("a")).filter(Boolean);
  const step = (all, by) => {
    const at = all.indexOf(document.activeElement);
    const next = all[Math.max(0, Math.min(all.length - 1, at < 0 && by < 0 ? all.length - 1 : at + by))];
    if (next) next.focus();
  };
  const say = (text) => { $("keys").textContent = text; };
  let areOn = true;
  try { areOn = localStorage.getItem("keys") !== "off"; } catch { /* The browser keeps nothing. */ }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
    if (event.key === "K") {
      areOn = !areOn;
      try { localStorage.setItem("keys", areOn ? "on" : "off"); } catch { /* Until the page is left. */ }
      say(areOn ? "keys are on" : "keys are off");
      return;
    }
    if (!areOn) return;
    const menu = document.querySelectorAll("header nav a");
    const acts = {
      "?": () => say(HELP), j: () => step(rows(), 1), k: () => step(rows(), -1),
      n: () => step(problems(), 1), p: () => step(problems(), -1),
      Backspace: () => $("up") && $("up").click(), Escape: () => $("up") && $("up").click(),
      y: () => navigator.clipboard.writeText(`${location.href}\n${$("twin").textContent}`).then(() => say("copied"), () => say("the browser does not allow copying")),
    };
    const act = acts[event.key] || (/^[1-9]$/.test(event.key) && menu[event.key - 1] ? () => menu[event.key - 1].click() : null);
    if (act) { event.preventDefault(); act(); }
  });
  if (!isPast()) { connect(); show(); }
})();
