// The app's modals, and the confirmation dialogs of its buttons.

import { renderBlocks } from "/page/blocks.js";
import { keepFocus, remember } from "/page/focus.js";
import { el, textObject } from "/page/mrkdwn.js";

const typed = new Map();
let shown = "";
let giveBack = () => {};

const key = (view, block, element) => `${view.id}/${block.block_id}/${element.action_id}`;

function localValue(element, content) {
  const options = [...(element.options ?? []), ...(element.option_groups ?? []).flatMap((g) => g.options)];
  const find = (value) => options.find((option) => option.value === value);
  if (element.type === "plain_text_input") return { value: content };
  if (element.type === "external_select") return { selected_option: content };
  if (element.type === "checkboxes") return { selected_options: (content ?? []).map(find) };
  return { selected_option: find(content) };
}

/** The context for blocks inside a view: the page's context plus the view's values and errors. */
export function viewContext(view, base, act) {
  return {
    ...base,
    scope: view.id,
    errors: view.errors,
    value(block, element) {
      const local = typed.get(key(view, block, element));
      return local === undefined
        ? view.values[block.block_id]?.[element.action_id]
        : localValue(element, local);
    },
    changed(block, element, content, node) {
      typed.set(key(view, block, element), content);
      if (block.dispatch_action) base.send(
        { act: "choose", view: view.id, name: block.block_id, value: content?.value ?? content }, node);
      else if (block.type !== "input") base.send(
        { act: "click", view: view.id, action_id: element.action_id, value: content }, node);
    },
    act(element, node) {
      // A Home tab has many buttons with the same action id: their values say which it is.
      act(element, node, { view: view.id, of: element.value });
    },
  };
}

function filled(view) {
  const values = {};
  for (const block of view.blocks) {
    if (block.type !== "input") continue;
    const content = typed.get(key(view, block, block.element));
    if (content !== undefined) values[block.block_id] = content?.value ?? content;
  }
  return values;
}

/** Show the user's topmost modal, or none. Redraws only when the view changed. */
export function showModal(stack, base, act) {
  const dialog = document.getElementById("modal");
  const view = stack?.at(-1);
  if (!view) {
    if (dialog.open) {
      dialog.close();
      giveBack();
    }
    shown = "";
    return;
  }
  const signature = JSON.stringify([view.id, view.hash, view.errors, base.me, stack.length]);
  if (signature === shown) return;
  const sameView = shown.startsWith(`["${view.id}"`);
  const scrolled = sameView ? dialog.querySelector(".body")?.scrollTop : 0;
  shown = signature;
  const close = (everything) => base.send({ act: "close", view: view.id, everything });
  const form = el("form", { novalidate: true },
    el("header", {},
      el("h2", { id: "modal-title" }, view.title),
      el("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => close(true) }, "✕")),
    el("div", { class: "body" }, renderBlocks(view.blocks, viewContext(view, base, act))),
    el("footer", {},
      el("small", {}, base.appName),
      el("button", { type: "button", class: "kit", "data-focus": "close", onclick: () => close(false) },
        view.close ?? (stack.length > 1 ? "Back" : view.submit ? "Cancel" : "Close")),
      view.submit ? el("button", { type: "submit", class: "kit primary" }, view.submit) : null));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    base.send({ act: "submit", view: view.id, values: filled(view) },
      form.querySelector("button[type=submit]"));
  });
  dialog.oncancel = (event) => {
    event.preventDefault();
    close(true);
  };
  if (!dialog.open) giveBack = remember();
  keepFocus(dialog, () => {
    dialog.replaceChildren(form);
    if (!dialog.open) dialog.showModal();
  });
  dialog.querySelector(".body").scrollTop = scrolled ?? 0;
  const wrong = dialog.querySelector("[aria-invalid=true]");
  if (wrong) wrong.focus();
  else if (!sameView || !dialog.contains(document.activeElement) || document.activeElement === dialog) {
    dialog.querySelector(".body input, .body select, .body textarea, footer button")?.focus();
  }
}

/** Show a button's confirmation dialog as Slack does; resolves to whether the user agreed. */
export function confirmed(confirm, base) {
  const dialog = document.getElementById("confirm");
  const back = remember();
  return new Promise((resolve) => {
    const answer = (yes) => {
      dialog.close();
      back();
      resolve(yes);
    };
    dialog.replaceChildren(el("form", { onsubmit: (event) => { event.preventDefault(); answer(true); } },
      el("header", {}, el("h2", { id: "confirm-title" }, confirm.title.text)),
      el("div", { class: "body" }, el("p", {}, textObject(confirm.text, base))),
      el("footer", {},
        el("button", { type: "button", class: "kit", onclick: () => answer(false) }, confirm.deny.text),
        el("button", { type: "submit", class: `kit ${confirm.style === "danger" ? "danger solid" : "primary"}` },
          confirm.confirm.text))));
    dialog.oncancel = (event) => {
      event.preventDefault();
      answer(false);
    };
    dialog.showModal();
    dialog.querySelector("button[type=submit]").focus();
  });
}
