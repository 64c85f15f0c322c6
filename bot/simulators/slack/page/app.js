// The page of the simulated workspace. It redraws whenever the server sends a new state.

import { renderBlocks } from "/page/blocks.js";
import { composer } from "/page/composer.js";
import { keepFocus } from "/page/focus.js";
import { showMessages, showNewest, stayAtBottom } from "/page/message.js";
import { confirmed, showModal, viewContext } from "/page/modal.js";
import { drawn, el, refreshDates } from "/page/mrkdwn.js";
import { listenToSide, panelFits, showSide } from "/page/side.js";
import { menuIsOpen, named, onPhone, showMenu, showSidebar, title } from "/page/sidebar.js";

const $ = (id) => document.getElementById(id);
const here = {
  state: null, me: null, channel: null, home: false, thread: null, side: null, panelWanted: true,
  seen: new Map(), notice: null, focusTs: null, opener: null,
};

// Actions ----------------------------------------------------------------------------------

function toast(text) {
  const node = el("div", { class: "toast" }, el("span", {}, drawn(text)),
    el("button", { type: "button", class: "plain", "aria-label": "Dismiss", onclick: () => node.remove() }, "✕"));
  const box = $("toasts");
  box.append(node);
  // Reopen the popover, so that it is above a modal that was opened in the meantime.
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover();
  setTimeout(() => node.remove(), 9000);
}

async function send(body, node) {
  // A disabled button would lose the keyboard's focus.
  if (node?.classList.contains("busy")) return false;
  node?.classList.add("busy");
  node?.setAttribute("aria-disabled", "true");
  let answer = { ok: false };
  try {
    const response = await fetch("/page/act", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ user: here.me, ...body }),
    });
    answer = await response.json();
    if (answer.error) toast(answer.error);
  } catch {
    toast("The demo is not responding. Is it still running?");
  }
  if (node) {
    node.removeAttribute("aria-disabled");
    node.classList.remove("busy");
    node.classList.toggle("failed", !answer.ok);
  }
  return answer.ok;
}

async function act(element, node, target) {
  if (element.confirm && !(await confirmed(element.confirm, context()))) return;
  if (element.url) window.open(element.url, "_blank", "noopener,noreferrer");
  await send({ act: "click", action_id: element.action_id, ...target }, node);
}

function openThread(message) {
  here.thread = message.thread_ts ?? message.ts;
  here.side = "thread";
  here.opener = message.ts;
  draw();
  $("thread-composer").querySelector("textarea").focus();
}

function closeSide() {
  if (here.side !== "thread") here.panelWanted = false;
  const opener = document.querySelector(`#messages [data-ts="${here.opener}"]`);
  const back = here.side === "thread" ? opener?.querySelector(".replies, .toolbar button") : null;
  Object.assign(here, { side: null, thread: null });
  draw();
  (back ?? ($("side-open").hidden ? $("composer").querySelector("textarea") : $("side-open"))).focus();
}

async function trouble(one, node) {
  await send({ act: "trouble", name: one.name, on: !one.on }, node);
}

function fill(text) {
  if (here.home || onPhone()) go({ home: false, side: onPhone() ? null : here.side });
  channelComposer.fill(text);
}

async function remove(message) {
  const plain = (text) => ({ type: "plain_text", text });
  const sure = {
    title: plain("Delete message"), text: plain("Are you sure? This cannot be undone."),
    confirm: plain("Delete"), deny: plain("Cancel"), style: "danger",
  };
  if (await confirmed(sure, context())) {
    await send({ act: "delete", channel: here.channel, ts: message.ts });
  }
}

function context(more = {}) {
  const { state } = here;
  return {
    users: state.users, channels: state.channels, groups: state.groups, me: here.me,
    appName: state.app.name, shortcuts: state.app.shortcuts, channel: here.channel,
    send, openThread, remove, ...more,
  };
}

function messageContext(message, more) {
  const target = { channel: here.channel, ts: message.ts };
  return context({
    scope: message.ts,
    value: (_block, element) => ({ selected_option: element.initial_option }),
    act: (element, node) => act(element, node, target),
    changed: (_block, element, value, node) =>
      send({ act: "click", action_id: element.action_id, value, ...target }, node),
    ...more,
  });
}

// Composers --------------------------------------------------------------------------------

function suggestions(text, thread) {
  if (!here.state) return [];
  if (!thread && text.startsWith("/") && !text.includes(" ")) {
    return here.state.app.commands.filter((one) => one.command.startsWith(text)).map((one) => ({
      insert: `${one.command} `, name: one.command, hint: one.hint, detail: one.description,
    }));
  }
  const word = /(^|\s)@([a-z0-9._-]*)$/.exec(text);
  if (!word) return [];
  const start = text.slice(0, text.length - word[2].length);
  return Object.values(here.state.users).filter((user) => user.name.startsWith(word[2])).map((user) => ({
    insert: `${start}${user.name} `, name: `@${user.name}`, detail: user.real_name,
  }));
}

async function write(text, thread) {
  const command = /^(\/\S+)\s*([\s\S]*)$/.exec(text);
  if (!command) return send({ act: "say", channel: here.channel, text, thread_ts: thread });
  if (thread) {
    toast(`${command[1]} is not supported in threads. Sorry! Use it in the channel, or mention the app here.`);
    return false;
  }
  if (!here.state.app.commands.some((one) => one.command === command[1])) {
    toast(`${command[1]} is not a valid command. This workspace only has the app's commands.`);
    return false;
  }
  showNewest($("messages"));  // the answer may be a message of the app, for all
  send({ act: "command", channel: here.channel, command: command[1], text: command[2] });
  return true;
}

const channelComposer = composer($("composer"), {
  where() {
    const channel = currentChannel();
    return { label: `Message ${title(channel, here)}`, closed: channel.archived };
  },
  send: (text) => write(text),
  suggestions: (text) => suggestions(text),
});
const threadComposer = composer($("thread-composer"), {
  where: () => ({ label: "Reply…" }),
  send: (text) => write(text, here.thread),
  suggestions: (text) => suggestions(text, true),
});

// Drawing ----------------------------------------------------------------------------------

const currentChannel = () => here.state.channels.find((one) => one.id === here.channel);

function go(change) {
  Object.assign(here, { thread: null }, change);
  if (here.side === "thread" && !here.thread) here.side = panelFits(here) ? "panel" : null;
  draw();
}

function goTo(change) {
  go(change);
  if (!menuIsOpen()) return;
  showMenu(false);
  (here.home ? $("home") : $("messages")).focus();
}

function become(id) {
  const channel = currentChannel();
  const next = channel.members.includes(id) ? channel.id
    : here.state.channels.find((one) => one.members.includes(id)).id;
  go({ me: id, channel: next, thread: here.thread });
}

function drawPlace() {
  const channel = currentChannel();
  const names = channel.members.map((id) => here.state.users[id].name).join(", ");
  const withBot = channel.members.includes(here.state.app.bot);
  $("where").replaceChildren(
    el("h2", {}, ...(here.home ? [`${here.state.app.name} · Home`] : named(channel, here))),
    here.home ? "" : el("p", {}, withBot ? names : `${names} (the app is not in this conversation)`));
}

function drawMessages() {
  const all = here.state.messages[here.channel].filter(
    (one) => !one.ephemeral_for || one.ephemeral_for === here.me);
  const list = $("messages");
  list.hidden = here.home;
  $("composer").hidden = here.home;
  $("home").hidden = !here.home;
  if (here.home) {
    const view = here.state.homes[here.me];
    const signature = JSON.stringify([view, here.me]);
    if ($("home").dataset.signature !== signature) {
      $("home").dataset.signature = signature;
      keepFocus($("home"), () => $("home").replaceChildren(view
        ? renderBlocks(view.blocks, viewContext(view, context(), act))
        : el("p", { class: "empty" }, "The app has not published a Home tab yet.")));
    }
  } else {
    showIn(list, all.filter((one) => !one.thread_ts || one.broadcast), { place: here.channel });
    if (all.length) here.seen.set(`${here.me}/${here.channel}`, all.at(-1).ts);
    list.dataset.empty = all.length ? "" : "No messages yet.";
  }
  const threadOpen = here.thread && !here.home;
  $("thread").dataset.empty = threadOpen ? "" : "yes";
  const thread = threadOpen
    ? all.filter((one) => one.ts === here.thread || one.thread_ts === here.thread) : [];
  showIn($("replies"), thread, { place: `thread ${here.channel} ${here.thread}`, inThread: true });
  $("thread-composer").hidden = !threadOpen;
}

function showIn(list, messages, more) {
  showMessages(list, messages, context(more), (message) => messageContext(message, more));
}

function drawHints() {
  const { hints } = here.state;
  const box = $("hints");
  box.hidden = !hints.length;
  if (box.childElementCount === 1) {
    box.append(...hints.map((hint) => el("button", {
      type: "button", class: "chip",
      onclick: () => fill(hint),
    }, hint)));
  }
}

function drawNotices() {
  const { notices } = here.state;
  const last = notices.at(-1)?.number ?? -1;
  if (here.notice !== null) {
    for (const one of notices) {
      if (one.number > here.notice && one.user === here.me) toast(one.text);
    }
  }
  here.notice = last;
}

function drawFocus() {
  if (!here.focusTs) return;
  const node = document.querySelector(`[data-ts="${here.focusTs}"]`);
  here.focusTs = null;
  node?.scrollIntoView({ block: "center" });
  node?.classList.add("flash");
}

function draw() {
  showSide(here, { run: trouble, fill });
  drawPlace();
  drawMessages();
  showSidebar(here, { go: goTo, home: () => { send({ act: "home" }); goTo({ home: true }); }, become });
  // On a phone the side column hides everything else.
  document.querySelector("main").inert = onPhone() && !$("side").hidden;
  drawHints();
  drawNotices();
  channelComposer.refresh();
  threadComposer.refresh();
  showModal(here.state.modals[here.me], context(), act);
  drawFocus();
}

// Feed -------------------------------------------------------------------------------------

function arrive(state) {
  const first = here.state === null;
  here.state = state;
  if (first) {
    here.me = Object.keys(state.users).find((id) => state.users[id].own && !state.users[id].is_bot);
    here.channel = state.channels.find((one) => one.members.includes(state.app.bot)).id;
    here.side = panelFits(here) ? "panel" : null;
    const address = /^\/archives\/([A-Z0-9]+)\/p(\d+)(\d{6})$/.exec(location.pathname);
    if (address && state.channels.some((one) => one.id === address[1])) {
      here.channel = address[1];
      here.focusTs = `${address[2]}.${address[3]}`;
      const thread = new URLSearchParams(location.search).get("thread_ts");
      if (thread) Object.assign(here, { thread, side: "thread" });
    }
  }
  // A button that is redrawn between press and release would lose its click.
  if (pressed && !first) late = true;
  else draw();
  if (first && !onPhone()) $("composer").querySelector("textarea").focus();
}

let pressed = false;
let late = false;
document.addEventListener("pointerdown", () => { pressed = true; }, true);
for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, () => {
    pressed = false;
    // The click comes after this event.
    if (late) setTimeout(draw);
    late = false;
  }, true);
}

function connect() {
  const socket = new WebSocket(`ws://${location.host}/page/feed`);
  socket.onopen = () => { $("link").textContent = "Connected"; $("link").className = "up"; };
  socket.onmessage = (event) => arrive(JSON.parse(event.data));
  socket.onclose = () => {
    $("link").textContent = "Disconnected. Reconnecting…";
    $("link").className = "down";
    setTimeout(connect, 1000);
  };
}

stayAtBottom($("messages"));
stayAtBottom($("replies"));
const open = (name) => { here.side = name; draw(); };
listenToSide(here, { open, close: closeSide, draw });
$("skip").addEventListener("click", () => {
  if (here.home) go({ home: false });
  $("composer").querySelector("textarea").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (menuIsOpen()) showMenu(false);
  else if (here.side === "thread" || (here.side && onPhone())) closeSide();
});
setInterval(refreshDates, 1000);
connect();
