// The left column: conversations, the app's Home tab, and who one acts as. On a phone it is a menu.

import { arrows, keepFocus } from "/page/focus.js";
import { avatar } from "/page/message.js";
import { icon } from "/page/icons.js";
import { el } from "/page/mrkdwn.js";

const $ = (id) => document.getElementById(id);
const phone = matchMedia("(max-width: 760px)");

export const onPhone = () => phone.matches;

export function showMenu(open) {
  const frame = $("frame");
  if (frame.classList.contains("with-menu") === open) return;
  frame.classList.toggle("with-menu", open);
  $("scrim").hidden = !open;
  $("menu-open").setAttribute("aria-expanded", String(open));
  (open ? $("channels").querySelector("button") : $("menu-open")).focus();
}

export const menuIsOpen = () => $("frame").classList.contains("with-menu");

export function title(channel, here) {
  if (channel.kind !== "im") return `${channel.kind === "group" ? "" : "#"}${channel.name}`;
  const other = channel.members.find((id) => id !== here.me) ?? channel.members[0];
  const user = here.state.users[other];
  return user.is_bot ? user.real_name : user.name;
}

export const named = (channel, here) =>
  channel.kind === "group" ? [icon("🔒", "private"), title(channel, here)] : [title(channel, here)];

function unread(channel, here) {
  const seen = here.seen.get(`${here.me}/${channel.id}`) ?? "0";
  return here.state.messages[channel.id].filter((one) =>
    one.ts > seen && one.user !== here.me && (!one.ephemeral_for || one.ephemeral_for === here.me)
    && (!one.thread_ts || one.broadcast)).length;
}

function item(key, label, current, count, run) {
  return el("li", {}, el("button", {
    type: "button", "data-focus": key, "aria-current": current ? "page" : null,
    class: count ? "unread" : "", onclick: run,
  }, el("span", {}, ...label),
  count ? el("span", { class: "count", "aria-label": `${count} unread` }, String(count)) : null));
}

function people(here, become) {
  const box = $("people");
  for (const [id, user] of Object.entries(here.state.users)) {
    if (!user.own || user.is_bot) continue;
    let input = box.querySelector(`input[value="${id}"]`);
    if (!input) {
      input = el("input", { type: "radio", name: "me", value: id, id: `me-${user.name}`, onchange: () => become(id) });
      box.append(el("label", {}, input, avatar(id, here.state.users, "small"), el("span", {}, user.name)));
    }
    input.checked = id === here.me;
  }
}

/** `go(change)` shows another place, `home()` opens the Home tab, `become(id)` acts as another. */
export function showSidebar(here, { go, home, become }) {
  const { state } = here;
  const mine = state.channels.filter((one) => one.members.includes(here.me));
  const counts = mine.map((one) => unread(one, here));
  const signature = JSON.stringify([here.me, here.home, here.channel, mine.map((one) => [one.id, one.kind]), counts]);
  people(here, become);
  $("menu-open").classList.toggle("unread", counts.some(Boolean));
  // A redraw between press and release of the mouse would lose the click.
  if ($("sidebar").dataset.signature === signature) return;
  $("sidebar").dataset.signature = signature;
  const entry = (channel) => item(channel.id, named(channel, here), !here.home && channel.id === here.channel,
    counts[mine.indexOf(channel)], () => go({ channel: channel.id, home: false }));
  keepFocus($("sidebar"), () => {
    $("channels").replaceChildren(...mine.filter((one) => one.kind !== "im").map(entry));
    $("direct").replaceChildren(...mine.filter((one) => one.kind === "im").map(entry));
    $("apps").replaceChildren(...(state.app.home_tab
      ? [item("home", [`${state.app.name} · Home`], here.home, 0, home)] : []));
  });
  $("apps-title").hidden = !state.app.home_tab;
}

arrows($("sidebar"), () => [...$("sidebar").querySelectorAll("li button")]);
$("menu-open").addEventListener("click", () => showMenu(true));
$("menu-close").addEventListener("click", () => showMenu(false));
$("scrim").addEventListener("click", () => showMenu(false));
phone.addEventListener("change", () => showMenu(false));
