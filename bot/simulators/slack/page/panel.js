// "Webhooks received": the deliveries that reached the receiver, newest first.

import { keepFocus } from "/page/focus.js";
import { el } from "/page/mrkdwn.js";

export function showPanel(list, deliveries) {
  const signature = JSON.stringify(deliveries);
  if (list.dataset.signature === signature) return;
  const open = new Set([...list.querySelectorAll("details[open]")].map((node) => node.dataset.key));
  const known = new Set([...list.querySelectorAll("details")].map((node) => node.dataset.key));
  const first = list.dataset.signature === undefined;
  list.dataset.signature = signature;
  if (!deliveries.length) {
    list.replaceChildren(el("li", { class: "empty" }, "No webhooks yet. One arrives here each time a deployment finishes."));
    return;
  }
  keepFocus(list, () => list.replaceChildren(...deliveries.map((one, place) => {
    // Numbered from the oldest, so that a new delivery does not change the keys of the others.
    const key = `${deliveries.length - place} ${one.time} ${one.type}`;
    return el("li", { class: first || known.has(key) ? "" : "new" },
      el("details", { "data-key": key, open: open.has(key) },
        el("summary", { "data-focus": key },
          el("span", { class: "line" },
            el("b", {}, one.type),
            el("time", {}, one.time)),
          el("span", { class: "line" },
            el("span", { class: `status ${one.status}` }, String(one.status)),
            el("span", {}, one.app),
            el("span", { class: `badge ${one.verified ? "good" : "bad"}` },
              one.verified ? "✓ signature verified" : "✗ bad signature"))),
        el("pre", {}, JSON.stringify(one.body, null, 2))));
  })));
}
