// One message: author, text or blocks, files, and its menu with the app's message shortcuts.

import { renderBlocks } from "/page/blocks.js";
import { arrows, keepFocus } from "/page/focus.js";
import { icon } from "/page/icons.js";
import { decode, el, mrkdwn } from "/page/mrkdwn.js";

const COLOURS = ["#b45309", "#0369a1", "#6d28d9", "#be185d", "#4d7c0f"];

export function avatar(id, users, size = "") {
  const user = users[id];
  if (user?.is_bot) return el("span", { class: `avatar bot ${size}`, "aria-hidden": "true" }, "⚙");
  const place = Object.keys(users).indexOf(id);
  const node = el("span", { class: `avatar ${size}`, "aria-hidden": "true" },
    (user?.real_name ?? "?").split(" ").map((word) => word[0]).join("").slice(0, 2));
  node.style.background = COLOURS[place % COLOURS.length];
  return node;
}

export const clock = (ts) =>
  new Date(Number(ts) * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

function fileCard(file) {
  const lines = file.text.split("\n");
  const short = lines.length > 8;
  const pre = el("pre", { class: short ? "folded" : "" }, file.text);
  const toggle = el("button", { type: "button", class: "plain" }, `Show all ${lines.length} lines`);
  toggle.addEventListener("click", () => {
    const folded = pre.classList.toggle("folded");
    toggle.textContent = folded ? `Show all ${lines.length} lines` : "Show less";
  });
  return el("figure", { class: "file" },
    el("figcaption", {}, icon("📄", "File"), el("b", {}, file.title || file.name),
      el("small", {}, ` ${file.name} · ${file.size.toLocaleString("en-GB")} bytes`)),
    pre, short ? toggle : null);
}

function menu(message, context) {
  const list = el("ul", { role: "menu", class: "menu", hidden: true });
  const open = el("button", {
    type: "button", "aria-haspopup": "menu", "aria-expanded": "false",
    "aria-label": "More actions", title: "More actions",
  }, "⋮");
  const hide = () => {
    list.hidden = true;
    open.setAttribute("aria-expanded", "false");
  };
  const entry = (label, note, run) => el("li", { role: "none" }, el("button", {
    type: "button", role: "menuitem", tabindex: "-1", onclick: () => { hide(); open.focus(); run(); },
  }, label, note ? el("small", {}, note) : null));
  list.append(
    ...context.shortcuts.map((one) => entry(one.name, context.appName, () =>
      context.send({ act: "shortcut", channel: context.channel, ts: message.ts, callback_id: one.callback_id }))),
    message.user === context.me || context.users[message.user].is_bot
      ? entry("Delete message…", "", () => context.remove(message)) : "");
  open.addEventListener("click", () => {
    list.hidden = !list.hidden;
    open.setAttribute("aria-expanded", String(!list.hidden));
    if (list.hidden) return;
    list.scrollIntoView({ block: "nearest" });
    list.querySelector("button")?.focus();
  });
  arrows(list, () => [...list.querySelectorAll("button")]);
  list.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    hide();
    open.focus();
  });
  list.addEventListener("focusout", (event) => {
    if (!list.contains(event.relatedTarget) && event.relatedTarget !== open) hide();
  });
  return [open, list];
}

function toolbar(message, context) {
  if (message.ephemeral_for) return null;
  return el("div", { class: "toolbar" },
    context.inThread ? null : el("button", {
      type: "button", "aria-label": "Reply in thread", title: "Reply in thread",
      onclick: () => context.openThread(message),
    }, icon("💬", "")),
    ...menu(message, context));
}

function replies(message, context) {
  if (!message.replies || context.inThread) return null;
  return el("button", { type: "button", class: "replies", "data-focus": "replies", onclick: () => context.openThread(message) },
    ...message.reply_users.slice(0, 4).map((id) => avatar(id, context.users, "tiny")),
    el("b", {}, `${message.replies} ${message.replies === 1 ? "reply" : "replies"}`),
    el("small", {}, "View thread"));
}

export function messageNode(message, context) {
  const user = context.users[message.user];
  const body = message.blocks.length
    ? renderBlocks(message.blocks, context)
    : message.text ? el("div", { class: "blocks" }, el("p", {}, mrkdwn(message.text, context, { mentions: message.parse !== "none" }))) : null;
  const node = el("li", {
    class: `message${message.ephemeral_for ? " ephemeral" : ""}`,
    "data-ts": message.ts, "data-me": context.me, tabindex: "-1",
  },
    avatar(message.user, context.users),
    el("article", { "aria-label": `${user.name}, ${clock(message.ts)}` },
      message.ephemeral_for ? el("p", { class: "note" }, icon("👁", ""), "Only visible to you") : null,
      message.broadcast && !context.inThread ? el("p", { class: "note" }, "replied to a thread") : null,
      el("header", {},
        el("b", {}, user.is_bot ? user.real_name : user.name),
        user.is_bot ? el("span", { class: "badge" }, "APP") : null,
        user.own ? null : el("span", { class: "badge outside" }, "OTHER TEAM"),
        el("time", {}, clock(message.ts)),
        message.edited ? el("small", {}, "(edited)") : null),
      body,
      ...message.files.map(fileCard),
      replies(message, context)),
    toolbar(message, context));
  node.dataset.fallback = decode(message.text);
  return node;
}

/** Put an edited message's new content in its place; its toolbar and an open menu stay. */
function edit(before, node) {
  if (before.dataset.me !== node.dataset.me) {
    keepFocus(before, () => before.replaceWith(node));
    return node;
  }
  keepFocus(before, () => before.querySelector("article").replaceWith(node.querySelector("article")));
  before.dataset.fallback = node.dataset.fallback;
  return before;
}

/** Stay at the newest message when the window, or what is above the list, changes its size. */
export function stayAtBottom(list) {
  let atBottom = true;
  const size = () => `${list.clientWidth} ${list.clientHeight}`;
  let seen = size();
  list.addEventListener("scroll", () => {
    // A scroll event comes before the resize that moved the end away: the reader did not scroll.
    if (size() === seen) atBottom = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  });
  new ResizeObserver(() => {
    seen = size();
    if (atBottom) showNewest(list);
  }).observe(list);
}

/** Scroll to the newest message; the list then follows what comes. */
export function showNewest(list) {
  list.scrollTop = list.scrollHeight;
}

/**
 * Update a list of messages: redraw and flash only those whose content changed. Show a new reply,
 * a message of one's own and one that only oneself sees; else stay at the bottom if the reader was
 * there.
 */
export function showMessages(list, messages, context, contextOf) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const atBottom = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const fresh = list.dataset.place !== context.place;
  list.dataset.place = context.place;
  let calls = false;
  const nodes = messages.map((message) => {
    const key = `${context.place}/${message.ts}`;
    const signature = JSON.stringify([message, context.me]);
    const before = old.get(key);
    if (before?.dataset.signature === signature) return before;
    const drawn = messageNode(message, contextOf(message));
    const node = before ? edit(before, drawn) : drawn;
    node.dataset.key = key;
    node.dataset.signature = signature;
    if (before) {
      if (!fresh) node.classList.add("flash");
    } else if (!fresh) {
      calls ||= Boolean(context.inThread) || message.user === context.me || Boolean(message.ephemeral_for);
      node.classList.add("new");
      node.addEventListener("animationend", () => node.classList.remove("new"), { once: true });
    }
    return node;
  });
  nodes.forEach((node, place) => {
    if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
  });
  while (list.children.length > nodes.length) list.lastChild.remove();
  if (fresh || atBottom || calls) showNewest(list);
}
