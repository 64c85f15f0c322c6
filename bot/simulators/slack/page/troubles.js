// The troubles that a visitor can switch on, and the line that says which ones are on.

import { keepFocus } from "/page/focus.js";
import { el } from "/page/mrkdwn.js";

function toggle(one, run, label) {
  return el("button", {
    type: "button", class: "kit", "data-focus": `trouble ${one.name}`,
    "aria-label": `Switch ${one.on ? "off" : "on"}: ${one.title}`, onclick: (event) => run(one, event.currentTarget),
  }, label ?? `Switch ${one.on ? "off" : "on"}`);
}

const card = (one, run, fill) => el("li", { class: one.on ? "on" : "", "data-trouble": one.name },
  el("h3", {}, one.title, one.on ? el("span", { class: "badge on" }, "ON") : null),
  el("p", {}, one.text),
  el("div", { class: "actions" }, toggle(one, run),
    one.hint ? el("button", {
      type: "button", class: "chip", "data-focus": `try ${one.name}`,
      "aria-label": `Write ${one.hint}`, onclick: () => fill(one.hint),
    }, one.hint) : null));

/** `run(trouble, button)` switches one; `fill(text)` writes a command into the channel's composer. */
export function showTroubles(troubles, run, fill) {
  const list = document.getElementById("trouble-list");
  const signature = JSON.stringify(troubles);
  if (list.dataset.signature === signature) return;
  list.dataset.signature = signature;
  keepFocus(list, () => list.replaceChildren(...troubles.map((one) => card(one, run, fill))));
  const on = troubles.filter((one) => one.on);
  const alerts = document.getElementById("alerts");
  alerts.hidden = !on.length;
  keepFocus(alerts, () => alerts.replaceChildren(...on.map((one) =>
    el("li", {}, el("span", { class: "badge on" }, "TROUBLE"), el("b", {}, one.title), toggle(one, run, "Switch off")))));
  const count = document.getElementById("trouble-count");
  count.hidden = !on.length;
  count.textContent = `${on.length} on`;
}
