// What is nice to have. Every page works without it.
"use strict";

const root = document.documentElement;
root.classList.add("live");

// Theme: that of the system, until another one is chosen.
const themes = ["system", "light", "dark"];
function stored() {
  try { return localStorage.getItem("theme") ?? "system"; } catch { return "system"; }
}
function show(theme) {
  if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.textContent = `Theme: ${theme}`;
    button.hidden = false;
  }
}

// Times as the clock of the browser has them.
function localTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

function announce(text) {
  const messages = document.getElementById("messages");
  if (!messages) return;
  const line = document.createElement("p");
  line.className = "message done";
  line.textContent = text;
  messages.replaceChildren(line);
}

async function fetched(address, options) {
  const answer = await fetch(address, { headers: { accept: "text/html" }, ...options });
  // Signed out meanwhile: the browser goes there itself.
  if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { location.assign(answer.url); return null; }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function prepare(within) {
  localTimes(within);
  for (const button of within.querySelectorAll("[data-copy]")) button.hidden = false;
}

// Forms, in a dialog over the page.
let opening = false;
async function ask(link) {
  if (opening) return;
  opening = true;
  const page = await fetched(link.href).finally(() => { opening = false; });
  const form = page?.getElementById("ask");
  if (!form) { location.assign(link.href); return; }
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.append(document.importNode(form, true));
  dialog.addEventListener("close", () => { dialog.remove(); link.closest("details")?.querySelector("summary")?.focus(); });
  document.body.append(dialog);
  localTimes(dialog);
  dialog.showModal();
  dialog.querySelector("input:not([type=hidden]), select, button")?.focus();
}

document.addEventListener("click", async (event) => {
  const target = event.target instanceof Element ? event.target : null;
  if (!target) return;
  for (const menu of document.querySelectorAll("details.more[open]")) if (!menu.contains(target)) menu.open = false;
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const link = target.closest("a[data-dialog]");
  if (link && plain) {
    event.preventDefault();
    const menu = link.closest("details");
    if (menu) menu.open = false;
    try { await ask(link); } catch { location.assign(link.href); }
    return;
  }
  const close = target.closest("[data-close]");
  if (close?.closest("dialog")) { event.preventDefault(); close.closest("dialog").close(); return; }
  if (target instanceof HTMLDialogElement) { target.close(); return; }
  const copy = target.closest("[data-copy]");
  if (copy) {
    try { await navigator.clipboard.writeText(copy.dataset.copy); announce("Copied."); }
    catch { announce("The browser does not let this page copy: mark the line and copy it."); }
    return;
  }
  if (target.closest("[data-theme-switch]")) {
    const theme = themes[(themes.indexOf(stored()) + 1) % themes.length];
    try { localStorage.setItem("theme", theme); } catch { /* it holds for this page */ }
    show(theme);
  }
});

document.addEventListener("keydown", (event) => {
  const menu = document.querySelector("details.more[open]");
  if (!menu) return;
  const entries = [...menu.querySelectorAll(".entries a")];
  const at = entries.indexOf(document.activeElement);
  if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
  else if (event.key === "ArrowDown") entries[(at + 1) % entries.length]?.focus();
  else if (event.key === "ArrowUp") entries[(at < 1 ? entries.length : at) - 1]?.focus();
  else return;
  event.preventDefault();
});

// A form is sent once.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// Lists are filtered while one types, by the server.
let asking = null;
document.addEventListener("input", async (event) => {
  const form = event.target.closest?.("form[data-live]");
  if (!form) return;
  const address = new URL(form.action);
  for (const [name, value] of new FormData(form)) address.searchParams.set(name, value);
  asking?.abort();
  asking = new AbortController();
  try {
    const page = await fetched(address, { signal: asking.signal });
    const list = page?.getElementById("list");
    if (!list) return;
    prepare(list);
    document.getElementById("list").replaceWith(document.importNode(list, true));
    history.replaceState(null, "", address);
  } catch (error) {
    if (error.name !== "AbortError") form.requestSubmit();
  }
});

// Actions that are not done: how far they are; and the page anew when one has ended.
async function renew() {
  // What somebody has open is not taken away.
  while (document.querySelector("dialog[open], details.more[open]")) await pause(500);
  const page = await fetched(location.href);
  const main = page?.getElementById("main");
  if (!main) return;
  const messages = document.getElementById("messages");
  prepare(main);
  const fresh = document.importNode(main, true);
  fresh.querySelector("#messages").replaceWith(messages);
  const focused = document.activeElement?.id;
  document.getElementById("main").replaceWith(fresh);
  if (focused) document.getElementById(focused)?.focus();
}

function follow() {
  const shown = () => [...document.querySelectorAll("[data-action]")];
  if (shown().length === 0) return;
  const source = new EventSource("/events");
  source.addEventListener("actions", async (event) => {
    const running = new Map(JSON.parse(event.data).map((action) => [String(action.id), action]));
    let ended = false;
    for (const bar of shown()) {
      const action = running.get(bar.dataset.action);
      if (!action) { ended = true; continue; }
      const progress = bar.querySelector("progress");
      if (progress && action.total > 0) { progress.max = action.total; progress.value = action.done; }
    }
    if (!ended) return;
    source.close();
    try { await renew(); announce("An action has ended."); follow(); } catch { location.reload(); }
  });
  window.addEventListener("pagehide", () => source.close(), { once: true });
}

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-submit-on-change]");
  if (form) form.requestSubmit();
});

show(stored());
prepare(document);
follow();
