// A list whose options the app gives while someone types (external_select).

import { el } from "/page/mrkdwn.js";

const pending = new Map();
const PAUSE_MS = 120;

async function load(context, block, typed) {
  try {
    const response = await fetch("/page/act", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        act: "suggest", user: context.me, view: context.scope, name: block.block_id, typed,
      }),
    });
    return (await response.json()).options ?? [];
  } catch {
    return [];
  }
}

export function externalSelect(element, context, block) {
  const key = `${context.scope}/${block.block_id}/${element.action_id}`;
  const chosen = () => context.value(block, element)?.selected_option;
  const list = el("ul", {
    class: "suggestions below", role: "listbox", id: `${context.scope}-${block.block_id}-list`, hidden: true,
  });
  const field = el("input", {
    type: "text", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false",
    "aria-controls": list.id, autocomplete: "off", spellcheck: "false",
    placeholder: element.placeholder?.text, "data-action": element.action_id,
  });
  let offered = [];
  let at = 0;
  let asked = 0;
  let timer = null;

  field.value = pending.get(key) ?? chosen()?.text.text ?? "";
  const close = () => {
    list.hidden = true;
    field.setAttribute("aria-expanded", "false");
  };
  const draw = () => {
    const empty = el("li", { class: "none" }, "No results");
    list.replaceChildren(...(offered.length ? offered.map((one, number) => el("li", {
      role: "option",
      id: `${list.id}-${number}`,
      "aria-selected": String(number === at),
      onmousedown: (event) => { event.preventDefault(); take(one); },
    }, el("b", {}, one.text.text), el("small", {}, one.description?.text ?? ""))) : [empty]));
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    field.setAttribute("aria-activedescendant", offered.length ? `${list.id}-${at}` : "");
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  const ask = async () => {
    const number = ++asked;
    const typed = field.value === chosen()?.text.text ? "" : field.value.trim();
    if (typed.length < (element.min_query_length ?? 3)) return;
    const options = await load(context, block, typed);
    if (number !== asked || !field.isConnected || document.activeElement !== field) return;
    offered = options;
    at = 0;
    draw();
  };
  const take = (option) => {
    // What was typed last is answered: a list that opened now would cover the buttons below.
    asked += 1;
    clearTimeout(timer);
    pending.delete(key);
    field.value = option.text.text;
    close();
    context.changed(block, element, option, field);
  };
  field.addEventListener("focus", () => { field.select(); ask(); });
  field.addEventListener("input", () => {
    pending.set(key, field.value);
    if (!field.value && element.initial_option === undefined) context.changed(block, element, null, field);
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE_MS);
  });
  field.addEventListener("blur", () => {
    close();
    if (!field.isConnected) return;
    const same = offered.find((one) => one.value === field.value.trim());
    if (same && same.value !== chosen()?.value) take(same);
    pending.delete(key);
    field.value = chosen()?.text.text ?? "";
  });
  field.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      at = (at + (event.key === "ArrowDown" ? 1 : offered.length - 1)) % (offered.length || 1);
      draw();
    } else if (event.key === "Enter" && offered[at]) {
      event.preventDefault();
      take(offered[at]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  return el("div", { class: "external" }, field, list);
}
