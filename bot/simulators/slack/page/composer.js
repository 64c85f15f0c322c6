// The two composers: channel and thread.

import { el } from "/page/mrkdwn.js";

/**
 * Fill a form with a composer. `where()` gives the place to write to: {label, closed};
 * `send(text)` resolves to whether the text was sent; `suggestions(text)` gives
 * [{insert, name, detail}] for the text so far.
 */
export function composer(form, { where, send, suggestions }) {
  const area = el("textarea", { rows: 1, autocomplete: "off", spellcheck: "false" });
  const list = el("ul", { class: "suggestions", role: "listbox", hidden: true, id: `${form.id}-list` });
  const button = el("button", { type: "submit", class: "send", "aria-label": "Send" }, "➤");
  let offered = [];
  let at = 0;

  const grow = () => {
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, 140)}px`;
    button.disabled = !area.value.trim();
  };
  const draw = () => {
    offered = suggestions(area.value);
    at = Math.min(at, Math.max(0, offered.length - 1));
    list.hidden = !offered.length;
    area.setAttribute("aria-expanded", String(!!offered.length));
    area.setAttribute("aria-activedescendant", offered.length ? `${list.id}-${at}` : "");
    list.replaceChildren(...offered.map((one, number) => el("li", {
      role: "option",
      id: `${list.id}-${number}`,
      "aria-selected": String(number === at),
      onmousedown: (event) => { event.preventDefault(); take(number); },
    }, el("b", {}, one.name), el("span", {}, one.hint ?? ""), el("small", {}, one.detail ?? ""))));
  };
  const take = (number) => {
    area.value = offered[number].insert;
    at = 0;
    grow();
    draw();
    area.focus();
  };
  const submit = async () => {
    const text = area.value.trim();
    if (!text) return;
    list.hidden = true;
    if (await send(text)) {
      area.value = "";
      grow();
      draw();
    }
    area.focus();
  };
  area.setAttribute("role", "combobox");
  area.setAttribute("aria-controls", list.id);
  area.addEventListener("input", () => { grow(); draw(); });
  area.addEventListener("blur", () => { list.hidden = true; });
  area.addEventListener("keydown", (event) => {
    const open = !list.hidden && offered.length;
    if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      at = (at + (event.key === "ArrowDown" ? 1 : offered.length - 1)) % offered.length;
      draw();
    } else if (open && (event.key === "Tab" || event.key === "Enter")
        && offered[at].insert.trim() !== area.value.trim()) {
      event.preventDefault();
      take(at);
    } else if (open && event.key === "Escape") {
      event.preventDefault();
      list.hidden = true;
      area.setAttribute("aria-expanded", "false");
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  form.replaceChildren(list, area, button);
  grow();
  return {
    refresh() {
      const { label, closed } = where();
      area.placeholder = label;
      area.setAttribute("aria-label", label);
      area.disabled = Boolean(closed);
    },
    fill(text) {
      area.value = text;
      grow();
      draw();
      list.hidden = true;
      area.focus();
    },
  };
}
